//! The forms of the bodies of requests and answers: [`Form`].

use std::ops::Range;

use agentwire_codec::{Body, EnvelopeType, Format, Map, RawBody, RequestId, Value};

use super::{reply, request::Hints};
use crate::connection::MAX_SMALL;

/// The form of the bodies of a request and its answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Whole envelopes, as on all other carriers.
    Envelope,
    /// Bare messages and errors, for the routes `/invoke` and `/invoke/stream`.
    Message,
}

impl Form {
    /// Returns the body of an answer, before it is encoded as an envelope.
    pub(super) fn prepare(self, body: Body) -> Body {
        match (self, reply::for_http(body)) {
            (Self::Message, Body::Raw(raw)) => bare(*raw).into(),
            (_, body) => body,
        }
    }

    /// Returns the part of an encoded envelope that is sent.
    pub(super) fn part_of(self, envelope: &[u8]) -> Range<usize> {
        let whole = 0..envelope.len();
        if self == Self::Envelope {
            return whole;
        }
        // The payload is the last value of an envelope. The id, which the caller has chosen, is
        // escaped, so that it cannot contain the key.
        let find = |key: &[u8]| envelope.windows(key.len()).position(|window| window == key);
        match (find(MESSAGE), find(PAYLOAD)) {
            (Some(start), _) => start + MESSAGE.len()..envelope.len() - 2,
            (None, Some(start)) => start + PAYLOAD.len()..envelope.len() - 1,
            (None, None) => whole,
        }
    }

    /// Removes all but the sent part of an envelope at the end of a buffer.
    pub(super) fn keep_part(self, buffer: &mut Vec<u8>, start: usize) {
        let part = self.part_of(&buffer[start..]);
        buffer.truncate(start + part.end);
        buffer.drain(start..start + part.start);
    }

    /// Returns the start of an event.
    pub(super) fn event_start(self, kind: EnvelopeType) -> &'static [u8] {
        match (self, kind) {
            (Self::Message, EnvelopeType::StreamEnd) => b"event: end\ndata: ",
            (Self::Message, EnvelopeType::Error) => b"event: error\ndata: ",
            _ => b"data: ",
        }
    }
}

/// Reduces a payload to the message or the nested error.
fn bare(mut raw: RawBody) -> RawBody {
    let is_error = raw.kind == EnvelopeType::Error;
    let key = if is_error { "error" } else { "message" };
    let Some(mut value) = raw.payload.remove(key) else {
        return raw;
    };
    if let (true, Value::Map(error), Some(details)) =
        (is_error, &mut value, raw.payload.remove("error_details"))
    {
        error.insert("details", details);
    }
    RawBody::new(raw.kind, Map::from([(key, value)]))
}

/// Returns the envelope of a request whose body is a message, `{"message": MESSAGE}`, or
/// `{"input": CONTENT}`. Without a role, a message is the user's.
pub(super) fn envelope_of(body: &[u8], hints: &Hints) -> Vec<u8> {
    let adapted = adapted(body);
    let message = adapted.as_deref().unwrap_or(body);
    let id = hints.id.clone().unwrap_or_else(RequestId::random);
    let mut envelope = br#"{"version": "1.0", "type": "request", "id": "#.to_vec();
    // A text can always be encoded.
    let id = Value::from(id.to_text().into_owned());
    let _ = Format::Json.encode_value(&id, &mut envelope);
    envelope.extend_from_slice(br#", "payload": {"method": ""#);
    envelope.extend_from_slice(hints.method.as_bytes());
    envelope.extend_from_slice(br#"", "agent_name": "", "message": "#);
    envelope.extend_from_slice(message);
    envelope.extend_from_slice(b"}}");
    envelope
}

/// Returns the message of a small body, or `None` if the body must be read as a message.
fn adapted(body: &[u8]) -> Option<Vec<u8>> {
    if body.len() > MAX_SMALL {
        return None;
    }
    let Ok(Value::Map(mut map)) = Format::Json.decode_value(body) else {
        return None;
    };
    let mut message = match map.remove("message") {
        Some(Value::Map(message)) => message,
        Some(text) => Map::from([("content", text)]),
        None => match map.remove("input") {
            Some(input) if !map.contains_key("content") => {
                let metadata = map.remove("metadata").unwrap_or_else(|| Map::new().into());
                Map::from([("content", input), ("metadata", metadata)])
            }
            _ => map,
        },
    };
    if !message.contains_key("role") {
        message.insert("role", "user");
    }
    let mut adapted = Vec::new();
    let encoded = Format::Json.encode_value(&message.into(), &mut adapted);
    encoded.is_ok().then_some(adapted)
}

/// The start of the payload of an answer with a message, and that of any other payload.
const MESSAGE: &[u8] = br#""payload": {"message": "#;
const PAYLOAD: &[u8] = br#""payload": "#;

#[cfg(test)]
mod tests {
    use agentwire_codec::{Envelope, ErrorCode, Message, Request, Response, WireError};

    use super::*;

    fn hints() -> Hints {
        Hints {
            id: Some("quoted \" id".into()),
            method: "process",
            form: Form::Message,
        }
    }

    #[test]
    fn messages_and_inputs_become_envelopes() {
        for body in [
            r#"{"content": "hi", "metadata": {"a": 1}}"#,
            r#"{"role": "user", "content": "hi", "metadata": {"a": 1}}"#,
            r#"{"message": {"content": "hi", "metadata": {"a": 1}}}"#,
            r#"{"input": "hi", "metadata": {"a": 1}}"#,
        ] {
            let envelope = envelope_of(body.as_bytes(), &hints());
            let envelope = Format::Json.decode(&envelope).expect(body);
            assert_eq!(envelope.id, RequestId::from("quoted \" id"));
            let Body::Request(Request::Process(call)) = envelope.body else {
                panic!("{body}");
            };
            assert_eq!(call.message.role, "user", "{body}");
            assert_eq!(call.message.content, "hi", "{body}");
            assert_eq!(call.message.metadata["a"], 1, "{body}");
        }
        let large = format!(
            r#"{{"role": "user", "content": "{}"}}"#,
            "x".repeat(MAX_SMALL)
        );
        let envelope = envelope_of(large.as_bytes(), &hints());
        assert!(Format::Json.decode(&envelope).is_ok());
        for body in ["", "[]", "{", r#"{"content": 1}}, "x": {"a": 1}"#] {
            let envelope = envelope_of(body.as_bytes(), &hints());
            assert!(Format::Json.decode(&envelope).is_err(), "{body}");
        }
    }

    #[test]
    fn answers_are_reduced_to_messages_and_errors() {
        let text = |body: Body| {
            let body = Form::Message.prepare(body);
            let id = RequestId::from(r#""payload": {"message": "#);
            let mut buffer = b"before ".to_vec();
            let envelope = Envelope::new(id, body);
            Format::Json
                .encode(&envelope, &mut buffer)
                .expect("encodes");
            Form::Message.keep_part(&mut buffer, 7);
            String::from_utf8(buffer).expect("UTF-8")
        };
        let message = text(Response::Message(Message::agent("hi")).into());
        assert!(
            message.starts_with(r#"before {"role": "agent", "content": "hi""#),
            "{message}"
        );
        assert!(message.ends_with(r#""}"#), "{message}");
        let forwarded = Map::from([
            ("more", Value::from(1)),
            ("message", Map::from([("content", 1)]).into()),
        ]);
        let raw = RawBody::new(EnvelopeType::Response, forwarded);
        assert_eq!(text(raw.into()), r#"before {"content": 1}"#);
        let error = WireError::new(ErrorCode::TOOL_NOT_FOUND, "no");
        assert_eq!(
            text(error.into()),
            r#"before {"error": {"code": "TOOL_NOT_FOUND", "message": "no", "details": {}}}"#
        );
        assert_eq!(text(Body::StreamEnd), "before {}");
    }
}
