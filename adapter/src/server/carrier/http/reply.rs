//! The statuses, headers and envelopes of answers.

use std::time::Instant;

use agentwire_codec::{
    Body, EncodeError, Envelope, EnvelopeType, ErrorCode, Format, FrameError, Map, RawBody,
    RequestId, Value, WireError,
};
use agentwire_transport::internal::LogLimit;
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{
        ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE,
        X_CONTENT_TYPE_OPTIONS,
    },
};

use super::{
    body::{Events, ReplyBody},
    form::Form,
};

/// A request that is refused before it is started, or an answer that is an error.
#[derive(Debug)]
pub(super) struct Refusal {
    id: RequestId,
    error: Box<WireError>,
    /// The status, or `None` for the status of the error's code.
    status: Option<StatusCode>,
    form: Form,
    format: Format,
    /// Whether the rest of the body has not been read, so that the connection must be closed.
    pub(super) is_unread: bool,
    /// The reason for observers, or `None` if the service refused the request.
    pub(super) reason: Option<&'static str>,
}

impl Refusal {
    pub(super) fn new(id: RequestId, error: WireError) -> Self {
        Self {
            id,
            error: Box::new(error),
            status: None,
            form: Form::Envelope,
            format: Format::Json,
            is_unread: false,
            reason: None,
        }
    }

    pub(super) fn with_status(mut self, status: StatusCode) -> Self {
        self.status = Some(status);
        self
    }

    /// Sets the format of the answer, which is that of the request.
    pub(super) fn in_format(mut self, format: Format) -> Self {
        self.format = format;
        self
    }

    /// Sets the form of the answer.
    pub(super) fn in_form(mut self, form: Form) -> Self {
        self.form = form;
        self
    }

    /// Sets the reason for observers of a request that the service has not seen.
    pub(super) fn because(mut self, reason: &'static str) -> Self {
        self.reason = Some(reason);
        self
    }

    /// Marks the body as unread.
    pub(super) fn unread(mut self) -> Self {
        self.is_unread = true;
        self
    }

    pub(super) fn into_response(self) -> Response<ReplyBody> {
        let Self {
            id,
            error,
            status,
            form,
            format,
            is_unread,
            ..
        } = self;
        tracing::debug!(%id, code = %error.code, "request refused");
        let status = status.unwrap_or_else(|| status_of(&error.code));
        let mut headers = HeaderMap::new();
        put_hints(&mut headers, &error);
        let envelope = Envelope::new(id.clone(), form.prepare((*error).into()));
        let mut body = Vec::new();
        // An error that repeats at most a short text of its request can always be encoded.
        let _ = format.encode(&envelope, &mut body);
        form.keep_part(&mut body, 0);
        let mut response = in_format(format, status, ReplyBody::whole(body));
        response.headers_mut().extend(headers);
        put_id(response.headers_mut(), &id);
        if is_unread {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
        response
    }
}

/// Adds the headers that repeat what an error says.
pub(super) fn put_hints(headers: &mut HeaderMap, error: &WireError) {
    if error.code == ErrorCode::UNAUTHENTICATED {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    let wait = error.details.get("retry_after_ms").and_then(Value::as_u64);
    if let (Some(millis), true) = (wait, error.code == ErrorCode::RATE_LIMITED) {
        headers.insert(RETRY_AFTER, millis.div_ceil(1000).into());
    }
}

/// Returns an answer in the format of its request.
pub(super) fn in_format(
    format: Format,
    status: StatusCode,
    body: ReplyBody,
) -> Response<ReplyBody> {
    match format {
        Format::MessagePack => with_type(status, "application/msgpack", body),
        _ => json(status, body),
    }
}

/// Returns an answer in JSON.
pub(super) fn json(status: StatusCode, body: ReplyBody) -> Response<ReplyBody> {
    with_type(status, "application/json", body)
}

/// Returns a short text.
pub(super) fn text(status: StatusCode, text: &'static str) -> Response<ReplyBody> {
    let body = ReplyBody::whole(text.as_bytes());
    with_type(status, "text/plain; charset=utf-8", body)
}

pub(super) fn with_type(
    status: StatusCode,
    content_type: &'static str,
    body: ReplyBody,
) -> Response<ReplyBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    let nosniff = HeaderValue::from_static("nosniff");
    headers.insert(X_CONTENT_TYPE_OPTIONS, nosniff);
    response
}

pub(super) fn not_found() -> Response<ReplyBody> {
    text(StatusCode::NOT_FOUND, "404: Not Found")
}

pub(super) fn wrong_method(allowed: &'static str) -> Response<ReplyBody> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "405: Method Not Allowed");
    let allowed = HeaderValue::from_static(allowed);
    response.headers_mut().insert(ALLOW, allowed);
    response
}

/// Returns the answers to a request as server-sent events.
pub(super) fn events(events: Events) -> Response<ReplyBody> {
    let id = events.running.id().clone();
    let body = ReplyBody::events(events);
    let mut response = with_type(StatusCode::OK, "text/event-stream", body);
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // nginx and others must not collect the events.
    let no = HeaderValue::from_static("no");
    headers.insert(HeaderName::from_static("x-accel-buffering"), no);
    put_id(headers, &id);
    response
}

/// Repeats the id of the request in a header, if the id can be a header.
pub(super) fn put_id(headers: &mut HeaderMap, id: &RequestId) {
    let text = id.to_text();
    if text.len() <= MAX_ID_LEN {
        if let Ok(value) = HeaderValue::try_from(text.into_owned()) {
            headers.insert(REQUEST_ID, value);
        }
    }
}

/// Returns the status of an answer with this code (PROTOCOL 15.2).
pub(super) fn status_of(code: &ErrorCode) -> StatusCode {
    match code.as_str() {
        "INVALID_MESSAGE"
        | "MALFORMED_PAYLOAD"
        | "UNSUPPORTED_VERSION"
        | "INVALID_REQUEST"
        | "REGISTRATION_FAILED"
        | "DUPLICATE_AGENT" => StatusCode::BAD_REQUEST,
        "UNAUTHENTICATED" => StatusCode::UNAUTHORIZED,
        "PERMISSION_DENIED" => StatusCode::FORBIDDEN,
        "AGENT_NOT_FOUND" | "TOOL_NOT_FOUND" => StatusCode::NOT_FOUND,
        "RATE_LIMITED" => StatusCode::TOO_MANY_REQUESTS,
        "NOT_IMPLEMENTED" => StatusCode::NOT_IMPLEMENTED,
        "AGENT_UNAVAILABLE" | "CONNECTION_FAILED" | "CONNECTION_CLOSED" => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        "AGENT_TIMEOUT" | "CONNECTION_TIMEOUT" => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Returns the status of a stream that is refused instead of begun. The failure of an agent belongs
/// to the events, where clients in Python and Go look for its text. An agent that cannot stream
/// says so with the text that PROTOCOL 7.3 fixes, on any carrier and behind any proxy.
pub(super) fn refusal_status(body: &Body) -> Option<StatusCode> {
    let status = status_of(&code_of(body)?);
    let text = match body {
        Body::Error(error) => Some(&*error.message),
        Body::Raw(raw) => raw.payload.get("error_message").and_then(Value::as_str),
        _ => None,
    };
    if status != StatusCode::INTERNAL_SERVER_ERROR {
        Some(status)
    } else if text.is_some_and(|text| text.ends_with(" does not support streaming")) {
        Some(StatusCode::NOT_IMPLEMENTED)
    } else {
        None
    }
}

/// Returns the body of an answer with both forms of an error: the nested form of Python's servers,
/// and the flat form of all other carriers.
pub(super) fn for_http(body: Body) -> Body {
    match body {
        Body::Error(error) => {
            let WireError {
                code,
                message,
                details,
                ..
            } = error;
            let code = code.as_str();
            let nested = Map::from([
                ("code", Value::from(code)),
                ("message", message.clone().into()),
            ]);
            let payload = Map::from([
                ("error", Value::from(nested)),
                ("error_code", code.into()),
                ("error_message", message.into()),
                ("error_details", details.into()),
            ]);
            RawBody::new(EnvelopeType::Error, payload).into()
        }
        Body::Raw(mut raw) if raw.kind == EnvelopeType::Error => {
            complete_error(&mut raw.payload);
            Body::Raw(raw)
        }
        body => body,
    }
}

/// Adds the form of an error that a forwarded error lacks.
fn complete_error(payload: &mut Map) {
    if payload.contains_key("error") || !payload.contains_key("error_code") {
        return;
    }
    let part = |key: &str| payload.get(key).cloned().unwrap_or_default();
    let nested = Map::from([
        ("code", part("error_code")),
        ("message", part("error_message")),
    ]);
    let mut completed = Map::from([("error", nested)]);
    completed.extend(std::mem::take(payload));
    *payload = completed;
}

/// Returns the code of an answer that is an error, in either form.
pub(super) fn code_of(body: &Body) -> Option<ErrorCode> {
    match body {
        Body::Error(error) => Some(error.code.clone()),
        Body::Raw(raw) if raw.kind == EnvelopeType::Error => {
            let flat = raw.payload.get("error_code");
            let nested = || raw.payload.get("error").and_then(|error| error.get("code"));
            let code = flat.or_else(nested).and_then(Value::as_str);
            Some(code.map_or(ErrorCode::INTERNAL_ERROR, ErrorCode::from))
        }
        _ => None,
    }
}

/// Encodes an envelope with all characters escaped.
pub(super) fn encode_escaped(
    envelope: &Envelope,
    limit: usize,
    buffer: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let before = buffer.len();
    Format::Json.encode(envelope, buffer)?;
    let len = buffer.len() - before;
    if len > limit {
        return Err(FrameError::TooLarge { len, max: limit }.into());
    }
    Ok(())
}

/// Returns the error in place of an answer that cannot be encoded (PROTOCOL 7.4).
pub(super) fn unsendable(error: &EncodeError) -> WireError {
    let text = format!("The answer cannot be sent: {error}");
    WireError::new(ErrorCode::INTERNAL_ERROR, text)
}

/// Returns the error in place of an answer for which there is no memory.
pub(super) fn out_of_memory(id: &RequestId) -> WireError {
    if let Some(count) = STARVED.record(Instant::now()) {
        tracing::warn!(%id, count, "reply replaced by an error: the memory budget is used up");
    }
    let text = "The answer cannot be sent: the memory budget of the server is used up";
    WireError::new(ErrorCode::INTERNAL_ERROR, text)
}

/// The header with the id of a request, in both directions.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The length above which the id of a request is not repeated in a header.
pub(super) const MAX_ID_LEN: usize = 256;

static STARVED: LogLimit = LogLimit::new();
