//! The library tokio-tungstenite.

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream, accept_async_with_config, client_async_with_config,
    tungstenite::{Message, protocol::WebSocketConfig},
};

use super::{MAX_MESSAGE, Socket};
use crate::BenchError;

pub(crate) struct Tungstenite(WebSocketStream<TcpStream>);

impl Socket for Tungstenite {
    type Payload = Bytes;

    async fn accept(stream: TcpStream) -> Result<Self, BenchError> {
        let socket = accept_async_with_config(stream, Some(config())).await?;
        Ok(Self(socket))
    }

    async fn connect(stream: TcpStream, url: &str) -> Result<Self, BenchError> {
        let (socket, _) = client_async_with_config(url, stream, Some(config())).await?;
        Ok(Self(socket))
    }

    async fn next(&mut self) -> Result<Option<Bytes>, BenchError> {
        while let Some(message) = self.0.next().await {
            if let Message::Binary(payload) = message? {
                return Ok(Some(payload));
            }
        }
        Ok(None)
    }

    async fn feed(&mut self, payload: Vec<u8>) -> Result<(), BenchError> {
        Ok(self.0.feed(Message::Binary(payload.into())).await?)
    }

    async fn flush(&mut self) -> Result<(), BenchError> {
        Ok(self.0.flush().await?)
    }
}

fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE))
}
