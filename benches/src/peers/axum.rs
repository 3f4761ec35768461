//! The axum peer: axum with serde_json as the server, and a connection of hyper as the client.

use ::agentwire::Endpoint;
use ::axum::{
    Json, Router,
    extract::DefaultBodyLimit,
    routing::post,
    serve::{ListenerExt, serve as serve_with_axum},
};
use bytes::Bytes;
use http::{Request as HttpRequest, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};

use super::envelope::{Answer, Envelope, ID, Request};
use crate::{
    BenchError,
    load::{Load, Tally},
    server_control::ServerControl,
    workload::Workload,
};

/// The version of HTTP that the client speaks. The server takes both.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Version {
    Http1,
    Http2,
}

pub(super) async fn serve(endpoint: &Endpoint, control: ServerControl) -> Result<(), BenchError> {
    let (host, port) = endpoint.host_and_port().ok_or(NOT_TCP)?;
    let listener = TcpListener::bind((host, port)).await?;
    let address = listener.local_addr()?;
    let endpoint = Endpoint::tcp(address.ip().to_string(), address.port())?;
    let listener = listener.tap_io(|stream| {
        // Without the option, the measurement fails to be fair, but does not fail.
        let _ = stream.set_nodelay(true);
    });
    let router = Router::new()
        .route("/process", post(process))
        .layer(DefaultBodyLimit::max(MAX_BODY));
    let served = async { Ok(serve_with_axum(listener, router).await?) };
    control.run_beside(&endpoint, served).await
}

async fn process(Json(request): Json<Envelope<Request>>) -> Json<Envelope<Answer>> {
    Json(request.answer())
}

/// A connection of either version. Callers of HTTP/2 share it.
enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Sender {
    async fn connect(endpoint: &Endpoint, version: Version) -> Result<Self, BenchError> {
        let stream = TcpStream::connect(endpoint.host_and_port().ok_or(NOT_TCP)?).await?;
        stream.set_nodelay(true)?;
        let stream = TokioIo::new(stream);
        Ok(match version {
            Version::Http1 => {
                let (sender, connection) = http1::handshake(stream).await?;
                tokio::spawn(connection);
                Self::Http1(sender)
            }
            Version::Http2 => {
                let (sender, connection) = http2::Builder::new(TokioExecutor::new())
                    .initial_stream_window_size(WINDOW)
                    .initial_connection_window_size(WINDOW)
                    .handshake(stream)
                    .await?;
                tokio::spawn(connection);
                Self::Http2(sender)
            }
        })
    }

    async fn send(
        &mut self,
        request: HttpRequest<Full<Bytes>>,
    ) -> hyper::Result<http::Response<Incoming>> {
        match self {
            Self::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Self::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }
}

pub(super) async fn drive(
    endpoint: &Endpoint,
    workload: &mut Workload,
    version: Version,
) -> Result<(), BenchError> {
    let (host, port) = endpoint.host_and_port().ok_or(NOT_TCP)?;
    let (host, shape) = (format!("{host}:{port}"), workload.shape);
    let mut senders = Vec::new();
    for _ in 0..shape.connections {
        let first = Sender::connect(endpoint, version).await?;
        if let Sender::Http2(sender) = &first {
            let others = (1..shape.in_flight).map(|_| Sender::Http2(sender.clone()));
            senders.extend(others);
        }
        senders.push(first);
    }
    let calls = |mut sender, load| {
        let host = host.clone();
        async move {
            let tally = call(&mut sender, load, &host, version).await;
            (sender, tally)
        }
    };
    workload.run_on(senders, calls).await
}

async fn call(
    sender: &mut Sender,
    load: Load,
    host: &str,
    version: Version,
) -> Result<Tally, BenchError> {
    let mut tally = load.start()?;
    let url = match version {
        Version::Http1 => "/process".to_owned(),
        Version::Http2 => format!("http://{host}/process"),
    };
    while let Some(started) = tally.start_call() {
        let envelope = Envelope::request(ID.to_owned(), "process", &load.text);
        let body = Full::new(Bytes::from(::serde_json::to_vec(&envelope)?));
        let mut request = HttpRequest::post(&*url).header(CONTENT_TYPE, "application/json");
        if version == Version::Http1 {
            request = request.header(http::header::HOST, host);
        }
        let response = sender.send(request.body(body)?).await?;
        if !response.status().is_success() {
            return Err(format!("the server answered with {}", response.status()).into());
        }
        let body = response.into_body().collect().await?.to_bytes();
        let answer: Envelope<Answer> = ::serde_json::from_slice(&body)?;
        tally.check(&answer.payload.message.content)?;
        tally.record(started)?;
    }
    Ok(tally)
}

/// The maximum body size, which exceeds the frame limit of the other peers.
const MAX_BODY: usize = 16 * 1024 * 1024;

/// The windows of HTTP/2, so that a body of 1 MiB arrives without waiting.
const WINDOW: u32 = 4 * 1024 * 1024;

const NOT_TCP: &str = "the axum peer supports only TCP";
