//! The URLs and headers of requests to one endpoint.

use agentwire_codec::Format;
use agentwire_transport::Url;
use http::{
    HeaderName, HeaderValue, Method, Request, Uri,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT},
};

use crate::{
    client::{config::Config, credentials::Credentials},
    connection::Bodies,
};

/// Where requests go, and how their answers are read.
#[derive(Debug)]
pub(super) struct Target {
    process: Heads,
    stream: Heads,
    execute: Heads,
    pub(super) bodies: Bodies,
    pub(super) max_answer: usize,
    credentials: Option<Credentials>,
}

/// What a request asks of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    Process,
    Stream,
    Execute,
}

/// The head of the requests of a route in each version of HTTP, without the headers that differ
/// between requests.
#[derive(Debug)]
struct Heads {
    http1: Request<()>,
    http2: Request<()>,
}

impl Target {
    pub(super) fn new(config: &Config, url: &Url) -> Self {
        let content_type = match config.format {
            Format::MessagePack => "application/msgpack",
            _ => "application/json",
        };
        let authority = authority(url);
        let scheme = if url.scheme.is_secure() {
            "https"
        } else {
            "http"
        };
        // A host that is not a header is refused by the resolver.
        let host =
            HeaderValue::from_str(&authority).unwrap_or_else(|_| HeaderValue::from_static(""));
        let heads = |route, accept| {
            let path = format!("{}{route}", url.path);
            // The path of an endpoint is checked when it is parsed.
            let parse = |text: &str| text.parse().unwrap_or_default();
            let mut http1 = head(parse(&path), accept, content_type);
            http1.headers_mut().insert(HOST, host.clone());
            let url = parse(&format!("{scheme}://{authority}{path}"));
            Heads {
                http1,
                http2: head(url, accept, content_type),
            }
        };
        Self {
            process: heads("/process", "*/*"),
            stream: heads("/stream", EVENT_STREAM),
            execute: heads("/execute", "*/*"),
            bodies: config.bodies,
            max_answer: config.frame_limits.max_receive(),
            credentials: config.credentials.clone(),
        }
    }

    /// Returns the head of a request. It has an empty header with the id of the request, so that
    /// adding the id does not move the other headers.
    pub(super) fn head(&self, route: Route, is_http2: bool) -> Request<()> {
        let heads = match route {
            Route::Process => &self.process,
            Route::Stream => &self.stream,
            Route::Execute => &self.execute,
        };
        let head = if is_http2 { &heads.http2 } else { &heads.http1 };
        head.clone()
    }

    /// Adds the credential of the client, which the request has in its metadata as well. Gateways
    /// read only the header.
    pub(super) fn add_credential<T>(&self, request: &mut Request<T>) {
        let value = self
            .credentials
            .as_ref()
            .and_then(Credentials::authorization);
        if let Some(value) = value {
            request.headers_mut().insert(AUTHORIZATION, value);
        }
    }
}

fn head(url: Uri, accept: &'static str, content_type: &'static str) -> Request<()> {
    let mut head = Request::new(());
    *head.method_mut() = Method::POST;
    *head.uri_mut() = url;
    let agent = concat!("agentwire/", env!("CARGO_PKG_VERSION"));
    let headers = head.headers_mut();
    for (name, value) in [
        (ACCEPT, accept),
        (CONTENT_TYPE, content_type),
        (USER_AGENT, agent),
        (REQUEST_ID, ""),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    head
}

/// Returns the host and the port of a URL, as in its text.
fn authority(url: &Url) -> String {
    let Url { host, port, .. } = url;
    // The zone of an IPv6 address has no meaning for the server.
    let host = host.split('%').next().unwrap_or(host);
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

pub(super) const EVENT_STREAM: &str = "text/event-stream";
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
