//! Reads the bodies of requests within the limits, and decodes them.

use std::{
    fmt::Display,
    future::poll_fn,
    pin::pin,
    task::Poll,
    time::{Duration, Instant as StdInstant},
};

use agentwire_codec::{
    DecodeError, DecodeFault, Envelope, ErrorCode, Format, Map, MemoryBound, RequestId, Value,
    WireError,
};
use agentwire_transport::{Peer, internal::LogLimit};
use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header::CONTENT_ENCODING};
use http_body::Body;
use tokio::{
    task::yield_now,
    time::{Instant, timeout},
};

use super::{
    HttpServer,
    form::{self, Form},
    reply::{MAX_ID_LEN, REQUEST_ID, Refusal},
};
use crate::server::carrier::memory::{Grant, Memory};
use crate::{
    connection::{
        Bodies, MAX_EXCESS_MEMORY, MAX_INLINE, MAX_SMALL, Offload,
        frame_log::{Direction, log_message},
    },
    deadline_timer::DeadlineTimer,
    observer::Side,
    server::{
        budget::Use,
        carrier::{
            rates::{MIN_REQUEST_RATE, least_bytes},
            refusals::{no_memory, stopping},
        },
    },
};

/// A request that has arrived and has been decoded.
pub(super) struct Received {
    pub(super) envelope: Envelope,
    pub(super) format: Format,
    /// The memory of the request.
    pub(super) charge: Grant,
}

/// The body of a request.
struct Payload {
    bytes: Bytes,
    grant: Grant,
}

/// What the path and the headers of a request say about its envelope.
#[derive(Clone)]
pub(super) struct Hints {
    /// The id for a body without one.
    pub(super) id: Option<RequestId>,
    /// The method for a body without one.
    pub(super) method: &'static str,
    pub(super) form: Form,
}

impl Hints {
    pub(super) fn new(headers: &HeaderMap, method: &'static str, form: Form) -> Self {
        let id = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
        let id = id.filter(|id| !id.is_empty() && id.len() <= MAX_ID_LEN);
        Self {
            id: id.map(RequestId::from),
            method,
            form,
        }
    }

    /// Returns whether an envelope may lack what the path says.
    fn completes(&self) -> bool {
        self.form == Form::Envelope
    }

    /// Returns the id of a request that cannot be read.
    pub(super) fn id(&self) -> RequestId {
        self.id.clone().unwrap_or_else(RequestId::unknown)
    }
}

/// Reads and decodes the body of a request.
///
/// # Errors
///
/// Returns the refusal that answers the request.
pub(super) async fn receive<B>(
    http: &HttpServer,
    memory: &Memory,
    peer: &Peer,
    headers: &HeaderMap,
    hints: &Hints,
    body: B,
) -> Result<Received, Refusal>
where
    B: Body,
    B::Error: Display,
{
    if let Some(encoding) = headers.get(CONTENT_ENCODING) {
        if !encoding.as_bytes().eq_ignore_ascii_case(b"identity") {
            let text = "Content-Encoding is not supported; send the body without compression";
            let error = WireError::new(ErrorCode::INVALID_MESSAGE, text);
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            let refusal = Refusal::new(hints.id(), error);
            let refusal = refusal.because("protocol").with_status(status);
            return Err(if discard(body).await {
                refusal
            } else {
                refusal.unread()
            });
        }
    }
    let Payload { bytes, grant } = read(http, memory, hints, body).await?;
    log_message(Direction::Received, peer, &bytes);
    let received = bytes.len() as u64;
    let observers = &http.config.observers;
    observers.report(|observer| observer.bytes_received(Side::Server, received));
    let bytes = match hints.form {
        Form::Envelope => bytes,
        Form::Message => enveloped(bytes, hints).await?,
    };
    decode(http, memory, hints, bytes, grant).await
}

/// Puts a message into an envelope.
async fn enveloped(bytes: Bytes, hints: &Hints) -> Result<Bytes, Refusal> {
    let envelope = if bytes.len() <= MAX_INLINE {
        form::envelope_of(&bytes, hints)
    } else {
        let hints = hints.clone();
        Offload::new(move || form::envelope_of(&bytes, &hints)).await
    };
    envelope.map(Bytes::from).ok_or_else(|| {
        let text = "The body is not a JSON object";
        let error = WireError::new(ErrorCode::MALFORMED_PAYLOAD, text);
        Refusal::new(hints.id(), error).because("malformed")
    })
}

async fn read<B>(
    http: &HttpServer,
    memory: &Memory,
    hints: &Hints,
    body: B,
) -> Result<Payload, Refusal>
where
    B: Body,
    B::Error: Display,
{
    let limit = http.config.frame_limits.max_receive();
    let hint = body.size_hint();
    let least = usize::try_from(hint.lower()).unwrap_or(usize::MAX);
    if least > limit {
        return Err(too_large(hints, limit));
    }
    let exact = hint.exact().and_then(|exact| usize::try_from(exact).ok());
    // A body of unknown length gets a small grant first, and then one for the largest body.
    let mut grant = grant(http, memory, hints, exact.unwrap_or(MAX_SMALL.min(limit))).await?;
    let mut body = pin!(body);
    let mut read = BytesMut::new();
    let timeout = http.config.frame_timeout;
    // The time begins with the first wait: most bodies have arrived.
    let (mut until, mut window) = (None, 0);
    // One timer for all parts of a body: a new timer may wake the thread that waits for timers.
    let mut timer = DeadlineTimer::default();
    loop {
        let next = poll_fn(|cx| match body.as_mut().poll_frame(cx) {
            Poll::Ready(frame) => Poll::Ready(Ok(frame)),
            Poll::Pending => {
                let until = *until.get_or_insert_with(|| Instant::now() + timeout);
                timer.poll(cx, until).map(Err)
            }
        });
        let data = match next.await {
            Err(()) => return Err(too_slow(hints)),
            Ok(None) => break,
            Ok(Some(Err(error))) => {
                let text = format!("The body cannot be read: {error}");
                let error = WireError::new(ErrorCode::MALFORMED_PAYLOAD, text);
                return Err(Refusal::new(hints.id(), error).because("io").unread());
            }
            Ok(Some(Ok(frame))) => frame.into_data(),
        };
        // Trailers have no meaning.
        let Ok(mut data) = data else {
            continue;
        };
        let len = read.len() + data.remaining();
        if len > limit {
            return Err(too_large(hints, limit));
        }
        if len > grant.bytes() {
            drop(grant);
            grant = self::grant(http, memory, hints, limit).await?;
        }
        if read.is_empty() && Some(data.remaining()) == exact {
            // The whole body has arrived at once.
            let bytes = data.copy_to_bytes(data.remaining());
            return Ok(Payload { bytes, grant });
        }
        if read.is_empty() {
            read.reserve(exact.unwrap_or(data.remaining()));
        }
        while data.has_remaining() {
            let chunk = data.chunk();
            read.extend_from_slice(chunk);
            let len = chunk.len();
            data.advance(len);
        }
        if (read.len() - window) as u64 >= least_bytes(MIN_REQUEST_RATE, timeout) {
            (until, window) = (None, read.len());
        }
    }
    grant.shrink(read.len());
    Ok(Payload {
        bytes: read.freeze(),
        grant,
    })
}

/// Waits for memory for the bytes of a body.
async fn grant(
    http: &HttpServer,
    memory: &Memory,
    hints: &Hints,
    bytes: usize,
) -> Result<Grant, Refusal> {
    // A message is copied into an envelope.
    let bytes = match hints.form {
        Form::Envelope => bytes,
        Form::Message => bytes.saturating_mul(2),
    };
    let purpose = if bytes > MAX_SMALL {
        Use::Receive
    } else {
        Use::Small
    };
    acquire(http, memory, || hints.id(), purpose, bytes)
        .await
        .map_err(Refusal::unread)
}

/// Waits for memory for at most the frame timeout, and not while the server is stopping.
async fn acquire(
    http: &HttpServer,
    memory: &Memory,
    id: impl FnOnce() -> RequestId,
    purpose: Use,
    bytes: usize,
) -> Result<Grant, Refusal> {
    if let Some(grant) = memory.acquire_now(purpose, bytes) {
        return Ok(grant);
    }
    let acquired = timeout(http.config.frame_timeout, memory.acquire(purpose, bytes));
    tokio::select! {
        biased;
        acquired = acquired => acquired.map_err(|_| Refusal::new(id(), no_memory()).because("memory")),
        () = http.shutdown.started() => Err(Refusal::new(id(), stopping()).because("stopping")),
    }
}

async fn decode(
    http: &HttpServer,
    memory: &Memory,
    hints: &Hints,
    bytes: Bytes,
    received: Grant,
) -> Result<Received, Refusal> {
    let format = Format::detect(&bytes);
    let bodies = http.service.bodies();
    let max = memory.max_request();
    if bytes.len() <= MAX_SMALL {
        // Most requests fit into the allowance of their connection. No bound is computed for them.
        let mut charge = memory.rest();
        if let Ok((envelope, memory)) = bodies.decode_within(&bytes, charge.bytes().min(max)) {
            charge.shrink(memory);
            return Ok(Received {
                envelope,
                format,
                charge,
            });
        }
    }
    let bound = bound(format, &bytes).await.min(max);
    let purpose = if bytes.len() > MAX_SMALL {
        Use::Large
    } else {
        Use::Small
    };
    let id = || identify(bodies, &bytes, hints);
    let mut charge = acquire(http, memory, id, purpose, bound).await?;
    let is_inline = bytes.len() <= MAX_SMALL
        || (bytes.len() <= MAX_INLINE && bound <= bytes.len() + MAX_EXCESS_MEMORY);
    let (bytes, decoded) = if is_inline {
        let decoded = bodies.decode_within(&bytes, max);
        (bytes, decoded)
    } else {
        Offload::new(move || {
            let decoded = bodies.decode_within(&bytes, max);
            (bytes, decoded)
        })
        .await
    };
    let decoded = match decoded {
        Err(_) if format == Format::Json && bytes.len() <= MAX_SMALL && hints.completes() => {
            match complete(&bytes, hints) {
                Some(completed) => bodies.decode_within(&completed, max),
                None => decoded,
            }
        }
        decoded => decoded,
    };
    drop((bytes, received));
    match decoded {
        Ok((envelope, memory)) => {
            charge.shrink(memory);
            Ok(Received {
                envelope,
                format,
                charge,
            })
        }
        Err(error) => Err(undecodable(hints, &error).in_format(format)),
    }
}

/// Returns a bound of the memory that decoding takes. The scan of a large payload yields to other
/// tasks.
async fn bound(format: Format, bytes: &[u8]) -> usize {
    let mut bound = MemoryBound::new(format);
    for _ in 0..=bytes.len() / SCAN_STEP {
        if bound.scan(bytes, SCAN_STEP) {
            break;
        }
        yield_now().await;
    }
    bound.bytes()
}

/// Returns the id of a payload that has not been decoded.
fn identify(bodies: Bodies, payload: &[u8], hints: &Hints) -> RequestId {
    let start = &payload[..payload.len().min(MAX_SMALL)];
    // Without memory, decoding ends at the first value and has only read the id.
    match bodies.decode_within(start, 0) {
        Ok((envelope, _)) => envelope.id,
        Err(error) => error.id().cloned().unwrap_or_else(|| hints.id()),
    }
}

/// Completes an envelope in which the parts are missing that the path already says: a person with
/// curl writes only the payload. Returns `None` if nothing is missing.
fn complete(payload: &[u8], hints: &Hints) -> Option<Vec<u8>> {
    let Ok(Value::Map(mut map)) = Format::Json.decode_value(payload) else {
        return None;
    };
    let Some(Value::Map(inner)) = map.get_mut("payload") else {
        return None;
    };
    let lacks_method = !inner.contains_key("method");
    if !lacks_method
        && ["version", "type", "id"]
            .iter()
            .all(|key| map.contains_key(key))
    {
        return None;
    }
    if lacks_method && !map.contains_key("type") {
        let mut with_method = Map::from([("method", hints.method)]);
        if let Some(Value::Map(inner)) = map.remove("payload") {
            with_method.extend(inner);
        }
        map.insert("payload", with_method);
    }
    let id = || hints.id.clone().unwrap_or_else(RequestId::random);
    for (key, value) in [
        ("version", Value::from("1.0")),
        ("type", "request".into()),
        ("id", id().to_text().into_owned().into()),
    ] {
        if !map.contains_key(key) {
            map.insert(key, value);
        }
    }
    let mut completed = Vec::new();
    Format::Json
        .encode_value(&map.into(), &mut completed)
        .is_ok()
        .then_some(completed)
}

fn undecodable(hints: &Hints, error: &DecodeError) -> Refusal {
    let id = error.id().cloned().unwrap_or_else(|| hints.id());
    if let Some(count) = UNDECODABLE.record(StdInstant::now()) {
        tracing::warn!(%id, %error, count, "request cannot be decoded");
    }
    let refusal = Refusal::new(id, error.to_wire_error()).because("malformed");
    match error.fault() {
        DecodeFault::Memory { .. } => refusal.with_status(StatusCode::PAYLOAD_TOO_LARGE),
        _ => refusal,
    }
}

/// Reads a small body that is not needed, and returns whether its end has arrived. Some clients,
/// such as curl 7.88, lose an answer over HTTP/2 that comes before they have sent their whole
/// request.
pub(super) async fn discard<B: Body>(body: B) -> bool {
    if body.is_end_stream() {
        return true;
    }
    if body
        .size_hint()
        .upper()
        .is_none_or(|len| len > MAX_DISCARDED)
    {
        return false;
    }
    let mut body = pin!(body);
    let ended = async {
        loop {
            match poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
                Some(Ok(_)) => {}
                Some(Err(_)) => return false,
                None => return true,
            }
        }
    };
    timeout(DISCARD_TIMEOUT, ended).await.unwrap_or(false)
}

fn too_large(hints: &Hints, limit: usize) -> Refusal {
    let text = format!("The body exceeds the limit of {limit} bytes");
    let error = WireError::new(ErrorCode::MALFORMED_PAYLOAD, text)
        .with_details(Map::from([("limit", limit)]));
    let status = StatusCode::PAYLOAD_TOO_LARGE;
    Refusal::new(hints.id(), error)
        .because("frame_size")
        .with_status(status)
        .unread()
}

fn too_slow(hints: &Hints) -> Refusal {
    let text = "The body arrived too slowly or not at all";
    let error = WireError::new(ErrorCode::MALFORMED_PAYLOAD, text);
    let status = StatusCode::REQUEST_TIMEOUT;
    Refusal::new(hints.id(), error)
        .because("timeout")
        .with_status(status)
        .unread()
}

const MAX_DISCARDED: u64 = 64 * 1024;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(1);

/// The number of bytes of a large body that are scanned before other tasks run.
const SCAN_STEP: usize = 256 * 1024;

static UNDECODABLE: LogLimit = LogLimit::new();

#[cfg(test)]
mod tests {
    use agentwire_codec::{Body, Request};

    use super::*;

    fn completed(text: &str, method: &'static str) -> Option<Envelope> {
        let hints = Hints {
            id: Some("given".into()),
            method,
            form: Form::Envelope,
        };
        let completed = complete(text.as_bytes(), &hints)?;
        Format::Json.decode(&completed).ok()
    }

    #[test]
    fn a_body_with_only_a_payload_is_completed_by_the_path_and_the_header() {
        let message = r#"{"payload": {"message": {"role": "user", "content": "x"}}}"#;
        let envelope = completed(message, "process").expect("an envelope");
        assert_eq!(envelope.id, RequestId::from("given"));
        assert!(matches!(envelope.body, Body::Request(Request::Process(_))));
        let envelope = completed(message, "stream").expect("an envelope");
        assert!(matches!(envelope.body, Body::Request(Request::Stream(_))));
        let tool = r#"{"id": "own", "payload": {"tool_name": "add", "kwargs": {}}}"#;
        let envelope = completed(tool, "execute").expect("an envelope");
        assert_eq!(envelope.id, RequestId::from("own"));
    }

    #[test]
    fn a_body_that_lacks_anything_else_is_not_completed() {
        for text in ["", "[]", "{}", r#"{"payload": 7}"#, r#"{"message": {}}"#] {
            assert!(completed(text, "process").is_none(), "{text}");
        }
        let whole =
            r#"{"version": "1.0", "type": "request", "id": "1", "payload": {"method": "x"}}"#;
        assert!(completed(whole, "process").is_none());
    }
}
