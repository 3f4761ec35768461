//! Turns a request into a WebSocket.

use agentwire_codec::{ErrorCode, RequestId, WireError};
use agentwire_transport::{
    Connection,
    internal::{Mutex, accept_key, is_key},
};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version,
    header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE},
};
use hyper::{body::Incoming, upgrade::OnUpgrade};
use hyper_util::{rt::TokioIo, server::conn::auto::upgrade::downcast};
use tokio::time::timeout;

use super::{
    HttpServer,
    body::ReplyBody,
    exchange::Exchange,
    reply::{self, Refusal},
    routes::is_foreign,
    wire::Wire,
};
use crate::Credential;

/// The accepted handshake of a connection, if there is one.
#[derive(Default)]
pub(super) struct Handshake(Mutex<Option<Accepted>>);

struct Accepted {
    upgrade: OnUpgrade,
    credential: Option<Credential>,
}

/// A connection that has become a WebSocket.
pub(super) struct Upgraded {
    pub(super) connection: Connection,
    pub(super) credential: Option<Credential>,
}

/// Returns whether a request asks for a WebSocket. Every path below the prefix is good, because
/// Python's clients ask for `/` and Go's for `/ws`.
pub(super) fn is_asked<B>(request: &Request<B>, prefix: &str) -> bool {
    let headers = request.headers();
    request.method() == Method::GET
        && request.version() == Version::HTTP_11
        && has_token(headers, UPGRADE, "websocket")
        && has_token(headers, CONNECTION, "upgrade")
        && is_below(request.uri().path(), prefix)
}

/// Answers a handshake.
pub(super) async fn answer(
    exchange: Exchange,
    mut request: Request<Incoming>,
    handshake: &Handshake,
) -> Response<ReplyBody> {
    let http = &exchange.http;
    let headers = request.headers();
    if headers
        .get(SEC_WEBSOCKET_VERSION)
        .map(HeaderValue::as_bytes)
        != Some(b"13")
    {
        let text = "426: this endpoint speaks version 13 of WebSocket";
        let mut response = reply::text(StatusCode::UPGRADE_REQUIRED, text);
        let version = HeaderValue::from_static("13");
        response
            .headers_mut()
            .insert(SEC_WEBSOCKET_VERSION, version);
        return response;
    }
    let key = headers.get(SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes);
    let Some(key) = key.filter(|key| is_key(key)) else {
        let text = "400: Sec-WebSocket-Key must be 16 bytes in base64";
        return reply::text(StatusCode::BAD_REQUEST, text);
    };
    // Browsers let every page open a WebSocket, so the server must check the origin.
    if is_foreign(headers, &http.config.http) {
        let text = "403: pages of this origin may not open a WebSocket";
        return reply::text(StatusCode::FORBIDDEN, text);
    }
    let accept = HeaderValue::try_from(accept_key(key));
    let caller = exchange.caller_of(headers);
    let caller = caller.unwrap_or_else(|| (*exchange.caller).clone());
    let credential = caller.credential.clone();
    if let Err(error) = check(http, http.service.check_credential(caller)).await {
        return Refusal::new(RequestId::unknown(), error).into_response();
    }
    let mut response = Response::new(ReplyBody::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let answered = response.headers_mut();
    answered.insert(UPGRADE, HeaderValue::from_static("websocket"));
    answered.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    // The accept key is base64, so it is always a header.
    answered.extend(accept.map(|accept| (SEC_WEBSOCKET_ACCEPT, accept)));
    let upgrade = hyper::upgrade::on(&mut request);
    *handshake.0.lock() = Some(Accepted {
        upgrade,
        credential,
    });
    response
}

/// Waits for the check of a credential for as long as for any handshake.
async fn check(
    http: &HttpServer,
    checked: impl Future<Output = Result<(), WireError>>,
) -> Result<(), WireError> {
    match timeout(http.config.handshake_timeout, checked).await {
        Ok(checked) => checked,
        Err(_) => {
            let text = "The server cannot check credentials now";
            Err(WireError::new(ErrorCode::AGENT_UNAVAILABLE, text))
        }
    }
}

impl Handshake {
    /// Returns whether a handshake was accepted.
    pub(super) fn is_accepted(&self) -> bool {
        self.0.lock().is_some()
    }

    /// Returns the connection once hyper has written the answer to the handshake and has ended.
    pub(super) async fn finish(&self, http: &HttpServer) -> Option<Upgraded> {
        let accepted = self.0.lock().take()?;
        // The upgrade fails if the peer has left before the answer was written.
        let parts = downcast::<TokioIo<Wire>>(accepted.upgrade.await.ok()?).ok()?;
        let connection = parts.io.into_inner().into_connection();
        let options = http.config.websocket_options();
        Some(Upgraded {
            connection: connection.into_websocket(&options, &parts.read_buf),
            credential: accepted.credential,
        })
    }
}

fn is_below(path: &str, prefix: &str) -> bool {
    let rest = path.strip_prefix(prefix);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).into_iter();
    let tokens = values.flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
    tokens
        .map(<[u8]>::trim_ascii)
        .any(|found| found.eq_ignore_ascii_case(token.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a request")
    }

    #[test]
    fn a_handshake_is_a_get_with_both_headers_below_the_prefix() {
        let both = &[
            ("Upgrade", "WebSocket"),
            ("Connection", "keep-alive, Upgrade"),
        ];
        for path in ["/", "/ws", "/process", "/ws?a=b"] {
            assert!(is_asked(&request("GET", path, both), ""), "{path}");
        }
        for (path, is_below) in [("/a", true), ("/a/ws", true), ("/ab", false), ("/", false)] {
            assert_eq!(
                is_asked(&request("GET", path, both), "/a"),
                is_below,
                "{path}"
            );
        }
        assert!(!is_asked(&request("POST", "/", both), ""));
        for missing in 0..2 {
            let one = &both[missing..=missing];
            assert!(!is_asked(&request("GET", "/", one), ""));
        }
        let other = &[("Upgrade", "h2c"), ("Connection", "Upgrade")];
        assert!(!is_asked(&request("GET", "/", other), ""));
    }
}
