//! What the tests share: a bound on every wait, agents, and a peer that sends any bytes.

#![allow(dead_code, reason = "each test binary uses a part of this")]
#![allow(clippy::expect_used, reason = "a test may stop at the first surprise")]

use std::{future::Future, time::Duration};

use agentwire::{Agent, AgentError, Endpoint, Map, Message, transport};
use agentwire_codec::{Body, Call, Envelope, Format, Request, RequestId, Response, put_frame};
use bytes::Bytes;
use futures_core::Stream;
use futures_util::stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Nothing in these tests takes long; what takes this long hangs.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("it hangs")
}

/// A `memory://` endpoint that no other test uses.
pub(crate) fn memory(test: &str) -> Endpoint {
    Endpoint::memory(format!("{test}-{:016x}", fastrand::u64(..))).expect("a valid name")
}

/// Answers as its message's metadata `do` says: `fail`, or else an echo. Streams `count` chunks, with an
/// error after `fail_after` of them.
pub(crate) struct Puppet;

impl Agent for Puppet {
    fn name(&self) -> &str {
        "puppet"
    }

    async fn process(&self, message: Message) -> Result<Message, AgentError> {
        match message.metadata.get("do").and_then(|value| value.as_str()) {
            Some("fail") => Err(AgentError::with_code("OUT_OF_STRINGS", "a string snapped")
                .with_details(Map::from([("string", 3)]))),
            Some("panic") => panic!("the stage collapsed"),
            Some("slow") => {
                tokio::time::sleep(Duration::from_secs(10)).await;
                Ok(message)
            }
            Some("hang") => std::future::pending().await,
            _ => {
                let mut reply = Message::agent(message.content);
                reply.metadata = message.metadata;
                Ok(reply)
            }
        }
    }

    fn stream(&self, message: Message) -> impl Stream<Item = Result<Message, AgentError>> + Send {
        let number = |key: &str| message.metadata.get(key).and_then(|value| value.as_u64());
        let (count, fail_after) = (number("count").unwrap_or(3), number("fail_after"));
        let content = message.content;
        let chunks = (0..count).map(move |i| match fail_after {
            Some(after) if after <= i => Err(AgentError::new(format!("snapped after {after}"))),
            _ => Ok(Message::agent(content.clone()).with_metadata("i", i)),
        });
        stream::iter(chunks)
    }
}

/// Waits until something is so, which other tasks bring about.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    let patience = tokio::time::timeout(PATIENCE, wait);
    patience
        .await
        .unwrap_or_else(|_| panic!("never came: {what}"));
}

/// A peer without manners: it sends what it is told to and shows what comes back.
pub(crate) struct RawPeer {
    pub(crate) connection: transport::Connection,
}

impl RawPeer {
    pub(crate) async fn connect(endpoint: &Endpoint) -> Self {
        Self {
            connection: within(transport::connect(endpoint))
                .await
                .expect("a server"),
        }
    }

    pub(crate) async fn accept(listener: &mut transport::Listener) -> Self {
        Self {
            connection: within(listener.accept()).await.expect("a client"),
        }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        within(self.connection.write_all(bytes))
            .await
            .expect("the peer takes bytes");
    }

    pub(crate) async fn send_frame(&mut self, payload: &[u8]) {
        self.send(&(payload.len() as u32).to_be_bytes()).await;
        self.send(payload).await;
    }

    pub(crate) async fn receive_payload(&mut self) -> Vec<u8> {
        let len = within(self.connection.read_u32()).await.expect("a frame");
        let mut payload = vec![0; len as usize];
        within(self.connection.read_exact(&mut payload))
            .await
            .expect("a whole frame");
        payload
    }

    pub(crate) async fn receive(&mut self) -> Envelope {
        Format::Json
            .decode(&self.receive_payload().await)
            .expect("an envelope in JSON")
    }

    /// Answers a call of `process` with a text.
    pub(crate) async fn answer(&mut self, id: &RequestId, text: &str) {
        let response = Response::Message(Message::agent(text));
        self.send(&frame(&Envelope::new(id.clone(), response)))
            .await;
    }

    /// Waits until the far side has closed, and checks that it said nothing more.
    pub(crate) async fn receive_end(&mut self) {
        self.receive_end_within(PATIENCE).await;
    }

    pub(crate) async fn receive_end_within(&mut self, limit: Duration) {
        let mut rest = Vec::new();
        tokio::time::timeout(limit, self.connection.read_to_end(&mut rest))
            .await
            .expect("it hangs")
            .expect("a proper end");
        assert_eq!(rest, b"", "bytes before the end");
    }
}

/// The frame of a call of `process`.
pub(crate) fn process_frame(id: &str, message: Message) -> Bytes {
    frame(&Envelope::new(
        RequestId::from(id),
        Request::Process(Call::new("", message)),
    ))
}

pub(crate) fn frame(envelope: &Envelope) -> Bytes {
    let mut buffer = Vec::new();
    put_frame(&mut buffer, usize::MAX, |buffer| {
        Format::Json.encode(envelope, buffer)
    })
    .expect("a valid envelope");
    buffer.into()
}

/// Code, text and id of an error envelope.
pub(crate) fn error_of(envelope: &Envelope) -> (String, String, String) {
    match &envelope.body {
        Body::Error(error) => (
            error.code.to_string(),
            error.message.clone(),
            envelope.id.to_string(),
        ),
        other => panic!("expected an error, got {other:?}"),
    }
}
