//! Answers the requests to the administrative endpoint.

use std::{convert::Infallible, net::IpAddr, sync::Arc, time::Duration};

use agentwire::{
    Credential, Format, Value, WireError,
    auth::Verb,
    transport::{Peer, PeerAddr},
    value,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode, body::Incoming, header, server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{State, url::AdminUrl};

/// Accepts connections until the future is dropped, which also drops the connections.
pub(super) async fn run(listener: TcpListener, url: AdminUrl, state: Arc<State>) {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let url = Arc::new(url);
    let mut connections = JoinSet::new();
    loop {
        // The semaphore is never closed.
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return;
        };
        while connections.try_join_next().is_some() {}
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "admin: accept failed; retrying");
                sleep(ACCEPT_AGAIN).await;
                continue;
            }
        };
        let (url, state) = (Arc::clone(&url), Arc::clone(&state));
        let peer = Peer::new(PeerAddr::Tcp(address));
        connections.spawn(async move {
            serve(stream, peer, &url, &state).await;
            drop(permit);
        });
    }
}

/// Answers one request. The time is limited, so that peers that do not read cannot hold all
/// permits.
async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: Peer,
    url: &AdminUrl,
    state: &State,
) {
    let service = service_fn(|request| {
        let peer = peer.clone();
        async move { Ok::<_, Infallible>(answer(&request, peer, url, state).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEADER)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(CONNECTION_TIMEOUT, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "admin: connection failed"),
        Err(_) => tracing::debug!("admin: connection took too long"),
    }
}

async fn answer(
    request: &Request<Incoming>,
    peer: Peer,
    url: &AdminUrl,
    state: &State,
) -> Response<Full<Bytes>> {
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        let allowed = header::HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(header::ALLOW, allowed);
        return response;
    }
    let path = request.uri().path();
    let host = request.headers().get(header::HOST);
    let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
    if !PUBLIC.contains(&path) && !is_own_host(host, url) {
        return text(
            StatusCode::FORBIDDEN,
            "use the address of --admin, localhost or an IP address\n",
        );
    }
    if let (true, Some(gate)) = (PROTECTED.contains(&path), state.gate.get()) {
        let credential = credential(request.headers());
        if let Err(error) = gate.admit(peer, credential, Verb::Metrics, path).await {
            return refusal(&error);
        }
    }
    match path {
        "/" => asset(include_str!("page.html"), "text/html; charset=utf-8"),
        "/page.css" => asset(include_str!("page.css"), "text/css; charset=utf-8"),
        "/page.js" => asset(include_str!("page.js"), "text/javascript; charset=utf-8"),
        "/metrics" => {
            let metrics = state.recorder.prometheus_text();
            response(
                StatusCode::OK,
                metrics,
                "text/plain; version=0.0.4; charset=utf-8",
            )
        }
        "/live" => json(StatusCode::OK, &value!({"alive": true})),
        "/health" => {
            let status = value!({
                "status": "healthy",
                "version": (env!("CARGO_PKG_VERSION")),
                "uptime": (state.uptime()),
            });
            json(StatusCode::OK, &status)
        }
        "/ready" => {
            let (ready, checks) = state.readiness();
            let status = if ready {
                StatusCode::OK
            } else {
                StatusCode::SERVICE_UNAVAILABLE
            };
            json(status, &value!({"ready": ready, "checks": checks}))
        }
        "/connections" => json(StatusCode::OK, &state.activity.connections()),
        "/stats" => json(StatusCode::OK, &state.stats()),
        _ => text(StatusCode::NOT_FOUND, "not found\n"),
    }
}

/// Returns the credential of a request: a bearer token, or the password of any user, for which a
/// browser asks.
fn credential(headers: &header::HeaderMap) -> Option<Credential> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next()?.to_str().unwrap_or_default();
    if values.next().is_some() {
        // A proxy may have checked another one of them.
        return Some(Credential::from_authorization(""));
    }
    let password = match value.split_once(' ') {
        Some((scheme, encoded)) if scheme.eq_ignore_ascii_case("basic") => {
            let decoded = STANDARD.decode(encoded.trim()).unwrap_or_default();
            let decoded = String::from_utf8(decoded).unwrap_or_default();
            decoded
                .split_once(':')
                .map(|(_, password)| password.to_owned())
        }
        _ => None,
    };
    Some(match password {
        Some(password) => Credential::bearer(password),
        None => Credential::from_authorization(value),
    })
}

fn refusal(error: &WireError) -> Response<Full<Bytes>> {
    let status = match error.code.as_str() {
        "UNAUTHENTICATED" => StatusCode::UNAUTHORIZED,
        "PERMISSION_DENIED" => StatusCode::FORBIDDEN,
        "RATE_LIMITED" => StatusCode::TOO_MANY_REQUESTS,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    let content = format!("{}: {}\n", error.code, error.message);
    let mut response = response(status, content, "text/plain; charset=utf-8");
    if status == StatusCode::UNAUTHORIZED {
        let schemes = header::HeaderValue::from_static("Basic realm=\"agentwire\", Bearer");
        response
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, schemes);
    }
    response
}

/// Returns whether a header `Host` names this endpoint. A page of another site whose name resolves
/// to this machine has another host, and must not read about the peers of the server.
fn is_own_host(host: &str, url: &AdminUrl) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || name.eq_ignore_ascii_case(url.host())
        || address.parse::<IpAddr>().is_ok()
}

fn asset(content: &'static str, kind: &'static str) -> Response<Full<Bytes>> {
    response(StatusCode::OK, content, kind)
}

fn text(status: StatusCode, content: &'static str) -> Response<Full<Bytes>> {
    response(status, content, "text/plain; charset=utf-8")
}

fn json(status: StatusCode, value: &Value) -> Response<Full<Bytes>> {
    let mut bytes = Vec::new();
    // The values contain nothing that JSON cannot represent.
    let _ = Format::Json.encode_value(value, &mut bytes);
    response(status, bytes, "application/json")
}

fn response(
    status: StatusCode,
    content: impl Into<Bytes>,
    kind: &'static str,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(content.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONTENT_SECURITY_POLICY, CONTENT_POLICY),
    ] {
        headers.insert(name, header::HeaderValue::from_static(value));
    }
    response
}

/// The paths that contain nothing about peers, which probes and scrapers may read under any host.
const PUBLIC: [&str; 4] = ["/metrics", "/health", "/ready", "/live"];

/// The paths that need a permission if there is an auth file.
const PROTECTED: [&str; 3] = ["/metrics", "/connections", "/stats"];

const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

const MAX_CONNECTIONS: usize = 64;
const MAX_HEADER: usize = 16 * 1024;
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// From the start of a connection to the last byte of the answer.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, duplex},
        time::Instant,
    };

    use super::{
        super::{Admin, url::parse_admin_url},
        *,
    };

    const PAGE: &[u8] = b"GET /page.js HTTP/1.1\r\nHost: localhost\r\n\r\n";

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_does_not_read_is_cut_and_one_that_pipelines_gets_one_answer() {
        let admin = Admin::new(parse_admin_url("http://127.0.0.1:0").unwrap());
        let peer = || Peer::new(PeerAddr::Tcp(([127, 0, 0, 1], 1).into()));
        let start = Instant::now();
        let (mut near, far) = duplex(64);
        let ((), sent) = tokio::join!(
            serve(far, peer(), &admin.url, &admin.state),
            near.write_all(PAGE)
        );
        sent.unwrap();
        assert_eq!(start.elapsed(), CONNECTION_TIMEOUT);

        let (mut near, far) = duplex(64 * 1024);
        near.write_all(&PAGE.repeat(2)).await.unwrap();
        serve(far, peer(), &admin.url, &admin.state).await;
        let mut answers = String::new();
        near.read_to_string(&mut answers).await.unwrap();
        assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 1);
    }

    #[test]
    fn a_page_under_the_name_of_another_site_is_refused() {
        let url = parse_admin_url("http://admin.internal:9090").unwrap();
        for own in [
            "127.0.0.1:9090",
            "[::1]:9090",
            "localhost",
            "admin.internal:9090",
            "10.0.0.7",
        ] {
            assert!(is_own_host(own, &url), "{own}");
        }
        for other in ["", "evil.example:9090", "127.0.0.1.evil.example"] {
            assert!(!is_own_host(other, &url), "{other}");
        }
    }
}
