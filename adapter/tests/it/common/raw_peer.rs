//! A peer that sends any bytes, valid or not.

use std::time::Duration;

use agentwire::{
    Endpoint, Message,
    transport::{self, Connection, Listener},
};
use agentwire_codec::{Body, Envelope, Format, RequestId, Response};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use super::{frame, waiting::HANG_LIMIT, within};

/// A connection on which a test sends any bytes and reads what comes back.
pub(crate) struct RawPeer {
    pub(crate) connection: Connection,
}

impl RawPeer {
    pub(crate) async fn connect(endpoint: &Endpoint) -> Self {
        Self {
            connection: within(transport::connect(endpoint))
                .await
                .expect("a server"),
        }
    }

    pub(crate) async fn accept(listener: &mut Listener) -> Self {
        Self {
            connection: within(listener.accept()).await.expect("a client"),
        }
    }

    /// Accepts a client, receives its first request, and returns its id.
    pub(crate) async fn asked(listener: &mut Listener) -> (Self, RequestId) {
        let mut peer = Self::accept(listener).await;
        let id = peer.receive().await.id;
        (peer, id)
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
        self.receive_payload_within(HANG_LIMIT).await
    }

    async fn receive_payload_within(&mut self, limit: Duration) -> Vec<u8> {
        let len = timeout(limit, self.connection.read_u32()).await;
        let len = len.expect("an answer in time").expect("a frame");
        let mut payload = vec![0; len as usize];
        within(self.connection.read_exact(&mut payload))
            .await
            .expect("a whole frame");
        payload
    }

    pub(crate) async fn receive(&mut self) -> Envelope {
        self.receive_within(HANG_LIMIT).await
    }

    pub(crate) async fn receive_within(&mut self, limit: Duration) -> Envelope {
        Format::Json
            .decode(&self.receive_payload_within(limit).await)
            .expect("an envelope in JSON")
    }

    /// Receives an envelope, or returns `None` at the end of the stream.
    pub(crate) async fn receive_or_end(&mut self) -> Option<Envelope> {
        let len = self.connection.read_u32().await.ok()?;
        let mut payload = vec![0; len as usize];
        self.connection.read_exact(&mut payload).await.ok()?;
        Some(Format::Json.decode(&payload).expect("an envelope in JSON"))
    }

    /// Answers a call of `process` with a text.
    pub(crate) async fn answer(&mut self, id: &RequestId, text: &str) {
        self.reply(id, Response::Message(Message::agent(text)))
            .await;
    }

    /// Answers a request with anything.
    pub(crate) async fn reply(&mut self, id: &RequestId, body: impl Into<Body>) {
        self.send(&frame(&Envelope::new(id.clone(), body))).await;
    }

    /// Waits until the peer closes the connection, and checks that it sends nothing before.
    pub(crate) async fn receive_end(&mut self) {
        self.receive_end_within(HANG_LIMIT).await;
    }

    pub(crate) async fn receive_end_within(&mut self, limit: Duration) {
        let mut rest = Vec::new();
        timeout(limit, self.connection.read_to_end(&mut rest))
            .await
            .expect("an answer in time")
            .expect("a proper end");
        assert_eq!(rest, b"", "bytes before the end");
    }
}
