//! The kinds of servers that a client calls: [`PeerKind`].

use std::fmt;

use agentwire_codec::{Body, EnvelopeType, Map, Request, Timestamp, Value};

/// The kind of the servers that a client calls.
///
/// A client that knows the kind refuses messages that such a server cannot read, instead of sending
/// them. [`RemoteAgentBuilder::peer`](crate::RemoteAgentBuilder::peer) sets the kind.
///
/// ```
/// use agentwire::{Error, Message, PeerKind, RemoteAgent};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), agentwire::Error> {
/// let remote = RemoteAgent::builder("tcp://10.0.0.7:8080").peer(PeerKind::Go).build()?;
/// let error = remote.process(Message::user(vec![1, 2, 3])).await.unwrap_err();
/// assert!(matches!(error, Error::UnreadableByPeer { key: "content", .. }));
/// assert!(!error.was_sent());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PeerKind {
    /// Any server that follows the protocol. Every message is sent.
    #[default]
    Any,
    /// Servers of the Go adapter, which read only messages whose content is text.
    ///
    /// On Unix sockets and TCP, the whole process of such a server ends when it reads any other
    /// content ([PROTOCOL 11]). On other carriers, the connection ends without an answer.
    ///
    /// [PROTOCOL 11]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#11-what-other-implementations-do-differently
    Go,
}

/// A part of a message that the server cannot read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unreadable {
    /// The key of the part in the message.
    pub(crate) key: &'static str,
    /// What the message has under the key.
    pub(crate) found: &'static str,
}

impl PeerKind {
    /// Checks that servers of this kind can read a request.
    ///
    /// A forwarded message may lack its metadata or its timestamp (PROTOCOL 3.3). Go servers cannot
    /// read such a message, so this method adds the missing parts.
    pub(crate) fn prepare(self, body: &mut Body) -> Result<(), Unreadable> {
        match (self, body) {
            (Self::Go, Body::Request(Request::Process(call) | Request::Stream(call))) => {
                check_text("content", Some(&call.message.content))
            }
            (Self::Go, Body::Raw(raw)) if is_call(raw.kind, &raw.payload) => {
                match raw.payload.get_mut("message") {
                    Some(Value::Map(message)) => prepare_raw(message),
                    other => Err(Unreadable {
                        key: "message",
                        found: describe(other.as_deref()),
                    }),
                }
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for PeerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "the server",
            Self::Go => "a Go server",
        })
    }
}

fn is_call(kind: EnvelopeType, payload: &Map) -> bool {
    let method = payload.get("method").and_then(Value::as_str);
    kind == EnvelopeType::Request && matches!(method, Some("process" | "stream"))
}

fn prepare_raw(message: &mut Map) -> Result<(), Unreadable> {
    check_text("role", message.get("role"))?;
    check_text("content", message.get("content"))?;
    match message.get("metadata") {
        None | Some(Value::Null) => {
            message.insert("metadata", Map::new());
        }
        Some(Value::Map(_)) => {}
        other => {
            return Err(Unreadable {
                key: "metadata",
                found: describe(other),
            });
        }
    }
    match message.get("timestamp") {
        None | Some(Value::Null) => {
            message.insert("timestamp", Timestamp::now().to_string());
            Ok(())
        }
        timestamp => check_text("timestamp", timestamp),
    }
}

fn check_text(key: &'static str, value: Option<&Value>) -> Result<(), Unreadable> {
    match value {
        Some(Value::Text(_)) => Ok(()),
        other => Err(Unreadable {
            key,
            found: describe(other),
        }),
    }
}

fn describe(value: Option<&Value>) -> &'static str {
    match value {
        None => "missing",
        Some(Value::Null) => "null",
        Some(Value::Bool(_)) => "a bool",
        Some(Value::Integer(_)) => "an integer",
        Some(Value::Float(_)) => "a float",
        Some(Value::Text(_)) => "text",
        Some(Value::Bytes(_)) => "bytes",
        Some(Value::List(_)) => "a list",
        Some(Value::Map(_)) => "a map",
    }
}

#[cfg(test)]
mod tests {
    use agentwire_codec::{Call, Execute, Message, RawBody};

    use super::*;

    fn prepared(mut body: Body) -> Result<Body, (&'static str, &'static str)> {
        match PeerKind::Go.prepare(&mut body) {
            Ok(()) => Ok(body),
            Err(Unreadable { key, found }) => Err((key, found)),
        }
    }

    fn raw(payload: &str) -> Body {
        let Ok(Value::Map(payload)) = payload.parse() else {
            panic!("not an object: {payload}");
        };
        RawBody::new(EnvelopeType::Request, payload).into()
    }

    #[test]
    fn only_text_is_a_content_for_go() {
        let contents: [(Value, &str); 6] = [
            (Value::Null, "null"),
            (true.into(), "a bool"),
            (7.into(), "an integer"),
            (0.5.into(), "a float"),
            (Value::List(Vec::new()), "a list"),
            (Map::new().into(), "a map"),
        ];
        for (content, found) in contents {
            let call = || Call::new("", Message::user(content.clone()));
            for request in [Request::Process(call()), Request::Stream(call())] {
                let mut body = Body::from(request);
                assert_eq!(PeerKind::Any.prepare(&mut body), Ok(()));
                assert_eq!(prepared(body), Err(("content", found)));
            }
        }
        for text in ["", "hello", "\u{1f600}", "42", "null"] {
            let body = Body::from(Request::Process(Call::new("", Message::user(text))));
            assert_eq!(prepared(body.clone()), Ok(body));
        }
    }

    #[test]
    fn requests_without_a_message_are_not_checked() {
        let body = Body::from(Request::Execute(Execute::new("add", Map::from([("a", 1)]))));
        assert_eq!(prepared(body.clone()), Ok(body));
        let body = raw(r#"{"method": "describe", "message": 7}"#);
        assert_eq!(prepared(body.clone()), Ok(body));
    }

    #[test]
    fn a_forwarded_message_is_checked_whole() {
        for (message, key, found) in [
            ("[]", "message", "a list"),
            ("null", "message", "null"),
            (r#"{"content": "a"}"#, "role", "missing"),
            (r#"{"role": 1, "content": "a"}"#, "role", "an integer"),
            (r#"{"role": "user"}"#, "content", "missing"),
            (r#"{"role": "user", "content": {}}"#, "content", "a map"),
            (
                r#"{"role": "user", "content": "a", "metadata": []}"#,
                "metadata",
                "a list",
            ),
            (
                r#"{"role": "user", "content": "a", "timestamp": 1}"#,
                "timestamp",
                "an integer",
            ),
        ] {
            let body = raw(&format!(r#"{{"method": "stream", "message": {message}}}"#));
            assert_eq!(prepared(body), Err((key, found)), "{message}");
        }
        let body = raw(r#"{"method": "process"}"#);
        assert_eq!(prepared(body), Err(("message", "missing")));
    }

    #[test]
    fn a_forwarded_message_is_completed_and_otherwise_unchanged() {
        let body =
            raw(r#"{"method": "process", "message": {"content": "a", "x": [1], "role": "user"}}"#);
        let Ok(Body::Raw(raw)) = prepared(body) else {
            panic!("refused");
        };
        let message = raw.payload["message"].as_map().unwrap();
        let keys: Vec<_> = message.keys().collect();
        assert_eq!(keys, ["content", "x", "role", "metadata", "timestamp"]);
        assert_eq!(message["metadata"], Map::new());
        let timestamp = message["timestamp"].as_str().unwrap();
        assert!(timestamp.parse::<Timestamp>().is_ok(), "{timestamp}");
    }
}
