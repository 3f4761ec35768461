//! The opening handshake (RFC 6455, section 4).

use std::{fmt::Write as _, io, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use super::{WebSocketOptions, entropy::unpredictable, stream::WebSocketStream};
use crate::{Connection, Error, TlsError, Url, WebSocketError};

/// Opens a WebSocket over a connection.
///
/// # Cancel safety
///
/// If the future is dropped, the connection is closed.
pub(super) async fn connect(
    mut connection: Connection,
    url: &Url,
    options: &WebSocketOptions,
) -> io::Result<WebSocketStream> {
    let Url { host, port, .. } = url;
    let host = if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    };
    let path = if url.path.is_empty() { "/" } else { &url.path };
    let key: [u64; 2] = [unpredictable(), unpredictable()];
    let key = STANDARD.encode(key.map(u64::to_be_bytes).as_flattened());
    let mut request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\
         User-Agent: agentwire/{}\r\n",
        env!("CARGO_PKG_VERSION")
    );
    for (name, value) in options.headers.iter() {
        // Writing to a `String` cannot fail.
        let _ = write!(request, "{name}: {value}\r\n");
    }
    request.push_str("\r\n");
    connection.write_all(request.as_bytes()).await?;
    connection.flush().await?;
    let mut received = Vec::new();
    loop {
        if read_more(&mut connection, &mut received).await? == 0 {
            return Err(WebSocketError::Closed.into());
        }
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        match response.parse(&received) {
            Ok(httparse::Status::Complete(len)) => {
                let status = response.code.unwrap_or_default();
                if status != 101 {
                    let announced = find(response.headers, "Content-Length")
                        .and_then(|len| std::str::from_utf8(len).ok()?.parse().ok());
                    let mut body = received.split_off(len);
                    let read = read_body(&mut connection, &mut body, announced);
                    // The status says enough if the body does not end.
                    let _ = timeout(BODY_TIMEOUT, read).await;
                    let body = String::from_utf8_lossy(&body).trim().to_owned();
                    return Err(WebSocketError::Refused { status, body }.into());
                }
                check_response(response.headers, &key)?;
                return Ok(WebSocketStream::client(
                    connection,
                    options,
                    &received[len..],
                ));
            }
            Ok(httparse::Status::Partial) if received.len() < MAX_HEAD => {}
            Ok(httparse::Status::Partial) | Err(_) => return Err(WebSocketError::NotHttp.into()),
        }
    }
}

/// Accepts a WebSocket over a connection.
///
/// A request that is no handshake is answered in HTTP.
///
/// # Cancel safety
///
/// If the future is dropped, the connection is closed.
pub(super) async fn accept(
    mut connection: Connection,
    options: &WebSocketOptions,
) -> io::Result<WebSocketStream> {
    let mut received = Vec::new();
    loop {
        if read_more(&mut connection, &mut received).await? == 0 {
            return Err(WebSocketError::Closed.into());
        }
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(&received) {
            Ok(httparse::Status::Complete(len)) => {
                let response = match check_request(&request, options) {
                    Ok(key) => format!(
                        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                         Connection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n",
                        accept_key(key)
                    ),
                    Err(refusal) => return refuse(connection, refusal).await,
                };
                let authorization = authorization(request.headers);
                if let Some(check) = &options.check {
                    let peer = connection.peer().clone();
                    if let Err(status) = check.run(peer, authorization.as_deref()).await {
                        return refuse(connection, refusal_of(status)).await;
                    }
                }
                connection.write_all(response.as_bytes()).await?;
                connection.flush().await?;
                let rest = &received[len..];
                let stream = WebSocketStream::server(connection, options, rest);
                return Ok(stream.with_authorization(authorization));
            }
            Ok(httparse::Status::Partial) if received.len() < MAX_HEAD => {}
            Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
                return refuse(connection, HEADERS_TOO_LARGE).await;
            }
            Err(_) if received.starts_with(&[TLS_HANDSHAKE]) => {
                return refuse(connection, NOT_ENCRYPTED).await;
            }
            Err(_) => return refuse(connection, BAD_REQUEST).await,
        }
    }
}

/// Refuses a peer whose TLS handshake has failed. A peer that does not speak TLS is answered
/// without TLS.
pub(super) async fn refuse_plain(
    connection: Connection,
    error: Error,
) -> io::Result<WebSocketStream> {
    let error = error.into_tls();
    if error == TlsError::NotTls {
        // The answer is a courtesy, so the failure is the same if it cannot be sent.
        let _ = refuse(connection, ENCRYPTED).await;
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Reads the next bytes. Returns 0 at the end.
async fn read_more(connection: &mut Connection, received: &mut Vec<u8>) -> io::Result<usize> {
    received.reserve(READ_SIZE);
    connection.read_buf(received).await
}

/// An answer to a request that is no handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Refusal {
    status: &'static str,
    header: &'static str,
    text: &'static str,
}

async fn refuse(mut connection: Connection, refusal: Refusal) -> io::Result<WebSocketStream> {
    let Refusal {
        status,
        header,
        text,
    } = refusal;
    let response = format!(
        "HTTP/1.1 {status}\r\n{header}Content-Type: text/plain\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{text}\n",
        text.len() + 1
    );
    connection.write_all(response.as_bytes()).await?;
    connection.shutdown().await?;
    // If the connection were closed with unread bytes, the peer could lose the answer.
    let mut discarded = vec![0; 1024];
    let mut left = MAX_HEAD;
    while left > 0 {
        match connection.read(&mut discarded).await {
            Ok(count @ 1..) => left = left.saturating_sub(count),
            _ => break,
        }
    }
    Err(WebSocketError::BadRequest(text).into())
}

/// Returns the answer to a valid handshake that the server does not accept.
fn refusal_of(status: u16) -> Refusal {
    match status {
        401 => UNAUTHENTICATED,
        429 => TOO_MANY_REQUESTS,
        _ => UNAVAILABLE,
    }
}

/// Returns the key of the client.
fn check_request<'a>(
    request: &httparse::Request<'_, 'a>,
    options: &WebSocketOptions,
) -> Result<&'a [u8], Refusal> {
    if request.method != Some("GET") {
        return Err(METHOD_NOT_ALLOWED);
    }
    if request.version != Some(1) {
        return Err(VERSION_NOT_SUPPORTED);
    }
    let headers = &request.headers;
    if !has_token(headers, "Connection", "upgrade") || !has_token(headers, "Upgrade", "websocket") {
        return Err(UPGRADE_REQUIRED);
    }
    let is_allowed = |origin: &[u8]| {
        let mut allowed = options.allowed_origins.iter();
        allowed.any(|allowed| allowed == "*" || allowed.as_bytes() == origin)
    };
    if find(headers, "Origin").is_some_and(|origin| !is_allowed(origin)) {
        return Err(FOREIGN_ORIGIN);
    }
    if find(headers, "Sec-WebSocket-Version") != Some(b"13") {
        return Err(WRONG_VERSION);
    }
    match find(headers, "Sec-WebSocket-Key") {
        Some(key) if is_key(key) => Ok(key),
        _ => Err(WRONG_KEY),
    }
}

fn check_response(headers: &[httparse::Header<'_>], key: &str) -> Result<(), WebSocketError> {
    if !has_token(headers, "Connection", "upgrade") || !has_token(headers, "Upgrade", "websocket") {
        return Err(WebSocketError::NotHttp);
    }
    if find(headers, "Sec-WebSocket-Accept") != Some(accept_key(key.as_bytes()).as_bytes()) {
        return Err(WebSocketError::WrongAccept);
    }
    let is_unexpected = |name| find(headers, name).is_some_and(|value| !value.is_empty());
    if is_unexpected("Sec-WebSocket-Extensions") || is_unexpected("Sec-WebSocket-Protocol") {
        return Err(WebSocketError::UnexpectedExtension);
    }
    Ok(())
}

fn find<'a>(headers: &[httparse::Header<'a>], name: &str) -> Option<&'a [u8]> {
    let header = headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case(name))?;
    Some(header.value.trim_ascii())
}

/// Returns the header `Authorization`. Several of them, and one that is not text, are like an empty
/// one, which is never accepted: a server in front may have checked only one of them.
fn authorization(headers: &[httparse::Header<'_>]) -> Option<Box<str>> {
    let value = find(headers, "Authorization")?;
    let is_authorization =
        |header: &&httparse::Header<'_>| header.name.eq_ignore_ascii_case("Authorization");
    let is_only = headers.iter().filter(is_authorization).count() == 1;
    let text = std::str::from_utf8(value).ok().filter(|_| is_only);
    Some(text.unwrap_or_default().into())
}

fn has_token(headers: &[httparse::Header<'_>], name: &str, token: &str) -> bool {
    headers
        .iter()
        .filter(|header| header.name.eq_ignore_ascii_case(name))
        .flat_map(|header| header.value.split(|&byte| byte == b','))
        .any(|value| value.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

/// Returns whether a `Sec-WebSocket-Key` is valid.
#[doc(hidden)]
pub fn is_key(key: &[u8]) -> bool {
    STANDARD.decode(key).is_ok_and(|key| key.len() == 16)
}

/// Returns the `Sec-WebSocket-Accept` that answers a `Sec-WebSocket-Key`.
#[doc(hidden)]
pub fn accept_key(key: &[u8]) -> String {
    let mut hash = sha1_smol::Sha1::new();
    hash.update(key);
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(hash.digest().bytes())
}

/// Reads the start of the body of an error. The server may keep the connection open after the
/// announced length.
async fn read_body(connection: &mut Connection, body: &mut Vec<u8>, announced: Option<usize>) {
    let len = announced.unwrap_or(MAX_BODY).min(MAX_BODY);
    while body.len() < len {
        match read_more(connection, body).await {
            Ok(1..) => {}
            _ => break,
        }
    }
    body.truncate(len);
}

const UPGRADE_REQUIRED: Refusal = Refusal {
    status: "426 Upgrade Required",
    header: "Upgrade: websocket\r\n",
    text: "this endpoint speaks WebSocket; the request has no Upgrade header",
};
const FOREIGN_ORIGIN: Refusal = Refusal {
    status: "403 Forbidden",
    header: "",
    text: "pages of this origin may not connect to the server",
};
const WRONG_VERSION: Refusal = Refusal {
    status: "426 Upgrade Required",
    header: "Sec-WebSocket-Version: 13\r\n",
    text: "this endpoint speaks version 13 of WebSocket",
};
const WRONG_KEY: Refusal = Refusal {
    status: "400 Bad Request",
    header: "",
    text: "Sec-WebSocket-Key must be 16 bytes in base64",
};
const BAD_REQUEST: Refusal = Refusal {
    status: "400 Bad Request",
    header: "",
    text: "the request is not HTTP/1.1",
};
const ENCRYPTED: Refusal = Refusal {
    status: "400 Bad Request",
    header: "",
    text: "this endpoint speaks TLS; use wss://",
};
const NOT_ENCRYPTED: Refusal = Refusal {
    status: "400 Bad Request",
    header: "",
    text: "the peer speaks TLS, and this endpoint does not; use ws://",
};
const METHOD_NOT_ALLOWED: Refusal = Refusal {
    status: "405 Method Not Allowed",
    header: "Allow: GET\r\n",
    text: "this endpoint speaks WebSocket, which begins with GET",
};
const VERSION_NOT_SUPPORTED: Refusal = Refusal {
    status: "505 HTTP Version Not Supported",
    header: "",
    text: "WebSocket needs HTTP/1.1",
};
const UNAUTHENTICATED: Refusal = Refusal {
    status: "401 Unauthorized",
    header: "WWW-Authenticate: Bearer\r\n",
    text: "the credential in the header Authorization is not valid",
};
const TOO_MANY_REQUESTS: Refusal = Refusal {
    status: "429 Too Many Requests",
    header: "",
    text: "too many credentials of this peer were not valid",
};
const UNAVAILABLE: Refusal = Refusal {
    status: "503 Service Unavailable",
    header: "",
    text: "the server cannot check credentials now",
};
const HEADERS_TOO_LARGE: Refusal = Refusal {
    status: "431 Request Header Fields Too Large",
    header: "",
    text: "the header exceeds 16 KiB or 64 fields",
};

/// The first byte of a TLS connection.
const TLS_HANDSHAKE: u8 = 0x16;
const READ_SIZE: usize = 1024;
const MAX_HEAD: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;
const MAX_BODY: usize = 1024;
/// How long a client waits for the body of an error.
const BODY_TIMEOUT: Duration = Duration::from_secs(1);
