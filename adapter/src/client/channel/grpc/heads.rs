//! The heads of requests: [`Heads`].

use agentwire_proto::Rpc;
use agentwire_transport::Endpoint;
use http::{HeaderValue, Method, Request, Version, header};

use crate::grpc;

/// What a call asks of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Procedure {
    Agent(Rpc),
    /// Whether the server is alive.
    Health,
}

/// The head of each procedure at one endpoint, without the headers that differ between calls.
/// `None` stands for an endpoint whose host cannot be part of a URL.
#[derive(Debug)]
pub(super) struct Heads {
    process: Option<Request<()>>,
    stream: Option<Request<()>>,
    health: Option<Request<()>>,
}

impl Heads {
    pub(super) fn new(endpoint: &Endpoint) -> Self {
        let scheme = if endpoint.is_secure() {
            "https"
        } else {
            "http"
        };
        let authority = match endpoint.host_and_port() {
            Some((host, port)) if host.contains(':') => format!("[{host}]:{port}"),
            Some((host, port)) => format!("{host}:{port}"),
            None => "localhost".to_owned(),
        };
        let head = |path| head(&format!("{scheme}://{authority}{path}"));
        Self {
            process: head(Rpc::Process.path()),
            stream: head(Rpc::ProcessStream.path()),
            health: head("/grpc.health.v1.Health/Check"),
        }
    }

    /// Returns the head of a request.
    pub(super) fn of(&self, procedure: Procedure) -> Option<Request<()>> {
        let head = match procedure {
            Procedure::Agent(Rpc::Process) => &self.process,
            Procedure::Agent(Rpc::ProcessStream) => &self.stream,
            Procedure::Health => &self.health,
        };
        head.clone()
    }
}

fn head(url: &str) -> Option<Request<()>> {
    let mut request = Request::new(());
    *request.method_mut() = Method::POST;
    *request.version_mut() = Version::HTTP_2;
    *request.uri_mut() = url.parse().ok()?;
    let headers = request.headers_mut();
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    let content_type = HeaderValue::from_static(grpc::CONTENT_TYPE);
    headers.insert(header::CONTENT_TYPE, content_type);
    headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    let accepted = HeaderValue::from_static(grpc::ACCEPTED_ENCODINGS);
    headers.insert("grpc-accept-encoding", accepted);
    Some(request)
}

const USER_AGENT: &str = concat!("agentwire/", env!("CARGO_PKG_VERSION"));
