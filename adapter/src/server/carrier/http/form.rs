//! The forms of the bodies of requests and answers: [`Form`].

use std::ops::Range;

use agentwire_codec::{Body, EnvelopeType, Format, Map, RawBody, RequestId, Value};

use super::{entries::Entries, reply, request::Hints};
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
///
/// Returns `None` if the body is not one object of JSON. What the values contain is checked when
/// the envelope is decoded, within the limits of memory.
pub(super) fn envelope_of(body: &[u8], hints: &Hints) -> Option<Vec<u8>> {
    if body.len() <= MAX_SMALL && Format::Json.decode_value(body).is_err() {
        return None;
    }
    let id = hints.id.clone().unwrap_or_else(RequestId::random);
    let mut envelope = br#"{"version": "1.0", "type": "request", "id": "#.to_vec();
    // A text can always be encoded.
    let id = Value::from(id.to_text().into_owned());
    let _ = Format::Json.encode_value(&id, &mut envelope);
    envelope.extend_from_slice(br#", "payload": {"method": ""#);
    envelope.extend_from_slice(hints.method.as_bytes());
    envelope.extend_from_slice(br#"", "agent_name": "", "message": "#);
    write_message(body, &mut envelope)?;
    envelope.extend_from_slice(b"}}");
    Some(envelope)
}

/// Writes the message of a body.
fn write_message(body: &[u8], envelope: &mut Vec<u8>) -> Option<()> {
    let body = body.trim_ascii();
    let found = Entries::read(body)?;
    let (content, metadata) = match (found.message, found.input) {
        (Some(message), _) if message.starts_with(b"{") => {
            write_with_role(message, &Entries::read(message)?, envelope);
            return Some(());
        }
        (Some(content), _) => (content, None),
        (None, Some(input)) if found.content.is_none() => (input, found.metadata),
        _ => {
            write_with_role(body, &found, envelope);
            return Some(());
        }
    };
    envelope.extend_from_slice(br#"{"role": "user", "content": "#);
    envelope.extend_from_slice(content);
    envelope.extend_from_slice(br#", "metadata": "#);
    envelope.extend_from_slice(metadata.unwrap_or(b"{}"));
    envelope.push(b'}');
    Some(())
}

/// Writes a message, and that it is the user's if it has no role.
fn write_with_role(message: &[u8], found: &Entries<'_>, envelope: &mut Vec<u8>) {
    let mut rest = message;
    if found.role.is_none() {
        envelope.extend_from_slice(br#"{"role": "user""#);
        envelope.extend_from_slice(if found.is_empty { b"" } else { b", " });
        rest = &message[1..];
    }
    envelope.extend_from_slice(rest);
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
            let envelope = envelope_of(body.as_bytes(), &hints()).expect(body);
            let envelope = Format::Json.decode(&envelope).expect(body);
            assert_eq!(envelope.id, RequestId::from("quoted \" id"));
            let Body::Request(Request::Process(call)) = envelope.body else {
                panic!("{body}");
            };
            assert_eq!(call.message.role, "user", "{body}");
            assert_eq!(call.message.content, "hi", "{body}");
            assert_eq!(call.message.metadata["a"], 1, "{body}");
        }
    }

    /// Returns what the body of a request becomes, or `None` if it is refused.
    fn decoded(body: &str) -> Option<agentwire_codec::Call> {
        let envelope = envelope_of(body.as_bytes(), &hints())?;
        match Format::Json.decode(&envelope).ok()?.body {
            Body::Request(Request::Process(call)) => Some(call),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn bodies_of_any_size_have_the_same_meaning() {
        for padding in [0, MAX_SMALL, 4 * MAX_SMALL] {
            let text = format!(r#"\"}}{{]\\{}"#, "x".repeat(padding));
            for body in [
                r#"{"content": "TEXT", "metadata": {"a": [1, {}]}}"#,
                " {\"metadata\":{\"a\":[1,{}]},\"content\":\"TEXT\"}\n",
                r#"{"role": "user", "content": "TEXT", "metadata": {"a": [1, {}]}}"#,
                r#"{"r\u006fle": "user", "content": "TEXT", "metadata": {"a": [1, {}]}}"#,
                r#"{"more": [{}], "message": {"content": "TEXT", "metadata": {"a": [1, {}]}}}"#,
                r#"{"input" : "TEXT" , "metadata" : {"a": [1, {}]} , "more": 7}"#,
            ] {
                let call = decoded(&body.replace("TEXT", &text)).expect(body);
                let (message, name) = (call.message, call.agent_name);
                assert_eq!((message.role.as_str(), &*name), ("user", ""), "{body}");
                let content = message.text().expect(body);
                assert!(content.starts_with("\"}{]\\"), "{body}");
                assert_eq!(content.len(), padding + 5, "{body}");
                assert_eq!(message.metadata["a"][0], 1, "{body}");
            }
            let call = decoded(&r#"{"message": "TEXT"}"#.replace("TEXT", &text));
            assert_eq!(
                call.expect("a call").message.content.as_str().map(str::len),
                Some(padding + 5)
            );
        }
    }

    #[test]
    fn a_body_that_is_not_one_object_never_becomes_a_request() {
        let spaces = " ".repeat(MAX_SMALL + 1);
        for body in [
            "",
            "7",
            "[]",
            "{",
            "{}",
            "{]",
            r#"{"content": 1]"#,
            r#"{"content": 1,}"#,
            r#"{"content": 1 2}"#,
            r#"{"content": [}}"#,
            r#"{"content": "}"#,
            r#"{"content" 1}"#,
            r#"{content: 1}"#,
            r#"{"content": 1} {}"#,
            r#"{"content": 1}}, "x": {"a": 1}"#,
            r#"{"role":"user","content":"x"},"agent_name":"y""#,
            r#"{"message":{"content":"x"},"agent_name":"y"},"agent_name":"z""#,
            r#"[],"message":{"role":"user","content":"x"},"agent_name":"y""#,
            r#"1,"message":{"role":"user","content":"x"},"agent_name":"y""#,
            r#"{"input":1},"agent_name":"y""#,
            r#"{"input":1,"metadata":{}},"agent_name":{"a":1}"#,
        ] {
            assert!(decoded(body).is_none(), "{body}");
            let large = format!("{body}{spaces}");
            assert!(decoded(&large).is_none(), "{body}, large");
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
