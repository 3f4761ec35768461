//! Reads the bodies of answers, in the shapes of all servers.

use agentwire_codec::{
    Body, DecodeError, Envelope, EnvelopeType, ErrorCode, Map, RawBody, Value, WireError,
};
use http::{
    HeaderMap, StatusCode,
    header::{CONTENT_TYPE, LOCATION, RETRY_AFTER},
};

use crate::{
    client::channel::failure::Failure,
    connection::{Bodies, Offload},
};

/// Reads an answer with any status. A body that is no envelope becomes an error with the code of
/// the status.
pub(super) async fn read(
    status: StatusCode,
    headers: &HeaderMap,
    payload: Vec<u8>,
    bodies: Bodies,
) -> Result<Body, Failure> {
    let kind = headers
        .get(CONTENT_TYPE)
        .map_or(&b""[..], |kind| kind.as_bytes());
    let is_text = kind.starts_with(b"text/");
    if status.is_success() && !is_text {
        return envelope(payload, bodies).await;
    }
    // The error is needed as text if the payload is not an envelope.
    let excerpt = excerpt(&payload);
    if !is_text {
        if let Ok(body) = envelope(payload, bodies).await {
            if body.kind() == EnvelopeType::Error || status.is_success() {
                return Ok(body);
            }
        }
    }
    Ok(in_form(status_error(status, headers, &excerpt), bodies))
}

/// Decodes an envelope, and brings an error into the usual form.
pub(super) async fn envelope(payload: Vec<u8>, bodies: Bodies) -> Result<Body, Failure> {
    let decoded = match bodies.decode_inline(&payload) {
        Some(decoded) => error_in_either_form(decoded, &payload, bodies),
        None => {
            Offload::new(move || {
                let decoded = bodies.decode_within(&payload, agentwire_codec::DEFAULT_MEMORY_LIMIT);
                let decoded = decoded.map(|(envelope, _)| envelope);
                error_in_either_form(decoded, &payload, bodies)
            })
            .await
        }
    };
    Ok(decoded?.body)
}

/// Decodes an envelope again if it is an error or cannot be decoded. The error of Python's servers
/// has another form, so errors are decoded without types.
fn error_in_either_form(
    decoded: Result<Envelope, DecodeError>,
    payload: &[u8],
    bodies: Bodies,
) -> Result<Envelope, DecodeError> {
    match &decoded {
        Ok(envelope) if envelope.body.kind() != EnvelopeType::Error => decoded,
        _ => match Bodies::Raw.decode_within(payload, MAX_ERROR_MEMORY) {
            Ok((envelope, _)) if envelope.body.kind() == EnvelopeType::Error => {
                Ok(with_error(envelope, bodies))
            }
            _ => decoded,
        },
    }
}

/// Brings the error of an envelope into the usual form.
fn with_error(mut envelope: Envelope, bodies: Bodies) -> Envelope {
    if let Body::Raw(raw) = &envelope.body {
        let error = error_of(&raw.payload);
        envelope.body = match bodies {
            Bodies::Typed => error.into(),
            Bodies::Raw => {
                let mut payload = raw.payload.clone();
                let nested = payload.remove("error");
                // A peer of another carrier reads the flat form only.
                if nested.is_some() && !payload.contains_key("error_code") {
                    payload.insert("error_code", error.code.as_str());
                    payload.insert("error_message", error.message);
                    payload.insert("error_details", error.details);
                }
                RawBody::new(EnvelopeType::Error, payload).into()
            }
        };
    }
    envelope
}

/// Reads an error in either form. The flat form has details.
fn error_of(payload: &Map) -> WireError {
    let nested = payload.get("error");
    let text = |flat: &str, inner: &str| {
        let flat = payload.get(flat).and_then(Value::as_str);
        let nested = || {
            nested
                .and_then(|error| error.get(inner))
                .and_then(Value::as_str)
        };
        flat.or_else(nested).map(str::to_owned)
    };
    let code = text("error_code", "code").unwrap_or_else(|| "INTERNAL_ERROR".to_owned());
    // Some servers have only a text in the place of the nested error.
    let message = text("error_message", "message")
        .or_else(|| nested.and_then(Value::as_str).map(str::to_owned))
        .unwrap_or_else(|| "Unknown error".to_owned());
    let details = payload.get("error_details").and_then(Value::as_map);
    WireError::new(code, message).with_details(details.cloned().unwrap_or_default())
}

fn in_form(error: WireError, bodies: Bodies) -> Body {
    match bodies {
        Bodies::Typed => error.into(),
        Bodies::Raw => {
            let payload = Map::from([
                ("error_code", Value::from(error.code.as_str())),
                ("error_message", error.message.into()),
                ("error_details", error.details.into()),
            ]);
            RawBody::new(EnvelopeType::Error, payload).into()
        }
    }
}

/// Returns the error that a status without an envelope stands for.
fn status_error(status: StatusCode, headers: &HeaderMap, excerpt: &str) -> WireError {
    let code = match status.as_u16() {
        400 | 405 | 411 | 414 | 415 | 422 | 431 => ErrorCode::INVALID_MESSAGE,
        401 => ErrorCode::UNAUTHENTICATED,
        403 => ErrorCode::PERMISSION_DENIED,
        404 | 410 => ErrorCode::AGENT_NOT_FOUND,
        408 | 504 => ErrorCode::AGENT_TIMEOUT,
        413 => ErrorCode::MALFORMED_PAYLOAD,
        429 => ErrorCode::RATE_LIMITED,
        501 => ErrorCode::NOT_IMPLEMENTED,
        502 | 503 => ErrorCode::AGENT_UNAVAILABLE,
        200..=299 => ErrorCode::MALFORMED_PAYLOAD,
        _ => ErrorCode::INTERNAL_ERROR,
    };
    let mut details = Map::from([("status", u64::from(status.as_u16()))]);
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let wait = text(RETRY_AFTER).and_then(|seconds| seconds.parse::<u64>().ok());
    if let Some(seconds) = wait {
        details.insert("retry_after_ms", seconds.saturating_mul(1000));
    }
    let mut message = format!("HTTP status {status}");
    if let Some(location) = text(LOCATION).filter(|_| status.is_redirection()) {
        message.push_str(&format!("; redirects are not followed: {location}"));
    } else if !excerpt.is_empty() {
        message.push_str(": ");
        message.push_str(excerpt);
    }
    WireError::new(code, message).with_details(details)
}

/// Returns the start of a body as text.
fn excerpt(payload: &[u8]) -> String {
    let start = &payload[..payload.len().min(MAX_EXCERPT)];
    String::from_utf8_lossy(start).trim().to_owned()
}

/// The length of the text that an error repeats of a body.
const MAX_EXCERPT: usize = 512;

/// The memory of the values of an error.
const MAX_ERROR_MEMORY: usize = 16 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use agentwire_codec::RequestId;

    use super::*;

    async fn read_text(status: u16, kind: &'static str, text: &str) -> Result<Body, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, http::HeaderValue::from_static(kind));
        headers.insert(RETRY_AFTER, http::HeaderValue::from_static("2"));
        let status = StatusCode::from_u16(status).expect("a status");
        read(status, &headers, text.as_bytes().to_vec(), Bodies::Typed).await
    }

    fn error(body: Result<Body, Failure>) -> (String, String, Map) {
        match body {
            Ok(Body::Error(error)) => {
                (error.code.as_str().to_owned(), error.message, error.details)
            }
            other => panic!("not an error: {other:?}"),
        }
    }

    fn envelope_of(payload: &str) -> String {
        format!(r#"{{"id": "1", "type": "error", "version": "1.0", "payload": {payload}}}"#)
    }

    #[tokio::test]
    async fn both_forms_of_an_error_are_read_with_any_status() {
        let nested = r#"{"error": {"code": "EXECUTION_ERROR", "message": "no"}}"#;
        let flat = r#"{"error_code": "EXECUTION_ERROR", "error_message": "no", "error_details": {"a": 1}}"#;
        let both = r#"{"error": {"code": "EXECUTION_ERROR", "message": "no"}, "error_code": "EXECUTION_ERROR", "error_message": "no", "error_details": {"a": 1}}"#;
        for (payload, has_details) in [(nested, false), (flat, true), (both, true)] {
            for status in [200, 400, 404, 500, 503] {
                let read = read_text(status, "application/json", &envelope_of(payload)).await;
                let (code, message, details) = error(read);
                assert_eq!((&*code, &*message), ("EXECUTION_ERROR", "no"));
                assert_eq!(details.contains_key("a"), has_details);
            }
        }
    }

    #[tokio::test]
    async fn a_body_that_is_no_envelope_becomes_an_error_with_the_code_of_its_status() {
        for (status, code) in [
            (301, "INTERNAL_ERROR"),
            (400, "INVALID_MESSAGE"),
            (401, "UNAUTHENTICATED"),
            (403, "PERMISSION_DENIED"),
            (404, "AGENT_NOT_FOUND"),
            (413, "MALFORMED_PAYLOAD"),
            (429, "RATE_LIMITED"),
            (500, "INTERNAL_ERROR"),
            (501, "NOT_IMPLEMENTED"),
            (502, "AGENT_UNAVAILABLE"),
            (504, "AGENT_TIMEOUT"),
        ] {
            for kind in ["text/plain; charset=utf-8", "text/html", "application/json"] {
                let (found, message, details) = error(read_text(status, kind, "oh no").await);
                assert_eq!(found, code);
                assert!(message.contains("oh no") && message.contains(&status.to_string()));
                assert_eq!(details["status"], i64::from(status));
                assert_eq!(details["retry_after_ms"], 2000);
            }
        }
        assert!(read_text(200, "application/json", "oh no").await.is_err());
        let (code, ..) = error(read_text(200, "text/html", "<html>").await);
        assert_eq!(code, "MALFORMED_PAYLOAD");
    }

    #[tokio::test]
    async fn answers_of_python_and_go_are_read() {
        let python = r#"{"id": "1", "type": "response", "version": "1.0", "payload": {"message": {"role": "agent", "content": "x", "metadata": {}, "timestamp": "2026-11-29T00:00:00+00:00"}}}"#;
        let body = read_text(200, "application/json", python).await;
        assert!(matches!(body, Ok(Body::Response(_))), "{body:?}");
    }

    #[test]
    fn a_forwarded_error_is_given_the_flat_form() {
        let raw = RawBody::new(
            EnvelopeType::Error,
            Map::from([("error", Map::from([("code", "A"), ("message", "b")]))]),
        );
        let envelope = with_error(Envelope::new(RequestId::from("1"), raw), Bodies::Raw);
        let Body::Raw(raw) = envelope.body else {
            panic!("a raw body");
        };
        assert_eq!(raw.payload["error_code"], "A");
        assert!(!raw.payload.contains_key("error"));
    }
}
