//! The URLs and headers of requests to one endpoint.

use agentwire_codec::Format;
use agentwire_transport::Url;
use http::{
    HeaderValue, Uri,
    header::{AUTHORIZATION, HOST},
};

use crate::{
    client::{config::Config, credentials::Credentials},
    connection::Bodies,
};

/// Where requests go, and how their answers are read.
#[derive(Debug)]
pub(super) struct Target {
    /// The value of the header `Host`.
    host: HeaderValue,
    process: Urls,
    stream: Urls,
    execute: Urls,
    pub(super) content_type: HeaderValue,
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

/// The URL of a route in each version of HTTP.
#[derive(Debug)]
struct Urls {
    http1: Uri,
    http2: Uri,
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
        let urls = |route| {
            let path = format!("{}{route}", url.path);
            // The path of an endpoint is checked when it is parsed.
            let parse = |text: &str| text.parse().unwrap_or_default();
            Urls {
                http1: parse(&path),
                http2: parse(&format!("{scheme}://{authority}{path}")),
            }
        };
        Self {
            process: urls("/process"),
            stream: urls("/stream"),
            execute: urls("/execute"),
            // A host that is not a header is refused by the resolver.
            host: HeaderValue::from_str(&authority)
                .unwrap_or_else(|_| HeaderValue::from_static("")),
            content_type: HeaderValue::from_static(content_type),
            bodies: config.bodies,
            max_answer: config.frame_limits.max_receive(),
            credentials: config.credentials.clone(),
        }
    }

    /// Returns the URL of a route.
    pub(super) fn url(&self, route: Route, is_http2: bool) -> Uri {
        let urls = match route {
            Route::Process => &self.process,
            Route::Stream => &self.stream,
            Route::Execute => &self.execute,
        };
        let url = if is_http2 { &urls.http2 } else { &urls.http1 };
        url.clone()
    }

    /// Adds the credential of the client, which the request has in its metadata as well. Gateways
    /// read only the header.
    pub(super) fn add_credential<T>(&self, request: &mut http::Request<T>) {
        let value = self
            .credentials
            .as_ref()
            .and_then(Credentials::authorization);
        if let Some(value) = value {
            request.headers_mut().insert(AUTHORIZATION, value);
        }
    }

    pub(super) fn add_host<T>(&self, request: &mut http::Request<T>) {
        request.headers_mut().insert(HOST, self.host.clone());
    }
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
