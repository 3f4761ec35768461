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
    /// The start of the URLs of HTTP/2: the scheme and the host.
    origin: String,
    /// The path in front of all routes.
    prefix: String,
    pub(super) content_type: HeaderValue,
    pub(super) bodies: Bodies,
    pub(super) max_answer: usize,
    credentials: Option<Credentials>,
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
        Self {
            origin: format!("{scheme}://{authority}"),
            // A host that is not a header is refused by the resolver.
            host: HeaderValue::from_str(&authority)
                .unwrap_or_else(|_| HeaderValue::from_static("")),
            prefix: url.path.clone(),
            content_type: HeaderValue::from_static(content_type),
            bodies: config.bodies,
            max_answer: config.frame_limits.max_receive(),
            credentials: config.credentials.clone(),
        }
    }

    /// Returns the URL of a route.
    pub(super) fn url(&self, path: &str, is_http2: bool) -> Uri {
        let Self { origin, prefix, .. } = self;
        let text = if is_http2 {
            format!("{origin}{prefix}{path}")
        } else {
            format!("{prefix}{path}")
        };
        // The path of an endpoint is checked when it is parsed.
        text.parse().unwrap_or_default()
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
