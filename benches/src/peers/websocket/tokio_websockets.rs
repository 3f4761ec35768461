//! The library tokio-websockets.

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_websockets::{ClientBuilder, Limits, Message, Payload, ServerBuilder, WebSocketStream};

use super::{MAX_MESSAGE, Socket};
use crate::BenchError;

/// A connection of either side.
pub(crate) struct TokioWebSockets(WebSocketStream<TcpStream>);

/// A payload of the library, as bytes.
pub(crate) struct Bytes(Payload);

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Socket for TokioWebSockets {
    type Payload = Bytes;

    async fn accept(stream: TcpStream) -> Result<Self, BenchError> {
        let builder = ServerBuilder::new().limits(limits());
        let (_, socket) = builder.accept(stream).await?;
        Ok(Self(socket))
    }

    async fn connect(stream: TcpStream, url: &str) -> Result<Self, BenchError> {
        let builder = ClientBuilder::new().uri(url)?.limits(limits());
        let (socket, _) = builder.connect_on(stream).await?;
        Ok(Self(socket))
    }

    async fn next(&mut self) -> Result<Option<Bytes>, BenchError> {
        while let Some(message) = self.0.next().await {
            let message = message?;
            if message.is_binary() {
                return Ok(Some(Bytes(message.into_payload())));
            }
        }
        Ok(None)
    }

    async fn feed(&mut self, payload: Vec<u8>) -> Result<(), BenchError> {
        Ok(self.0.feed(Message::binary(payload)).await?)
    }

    async fn flush(&mut self) -> Result<(), BenchError> {
        Ok(self.0.flush().await?)
    }
}

fn limits() -> Limits {
    Limits::default().max_payload_len(Some(MAX_MESSAGE))
}
