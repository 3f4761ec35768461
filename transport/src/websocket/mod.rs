//! WebSocket (RFC 6455) as a byte stream of frames.
//!
//! Peers over WebSocket send one envelope per message, without the 4-byte length of PROTOCOL 1.1.
//! [`WebSocket`] translates: its reader sees each message behind a length, and each frame that is
//! written becomes one binary message. Everything above the byte stream, such as pools, limits and
//! timeouts, is therefore the same as for other carriers.
//!
//! The layers are `handshake` > `stream` > `idle` > `socket` > `reader`, `writer`, `keepalive` >
//! `header`, `spare`, `entropy`.

mod entropy;
mod fault;
mod handshake;
mod header;
mod idle;
mod keepalive;
mod mask;
mod options;
mod progress;
mod reader;
mod socket;
mod spare;
mod stream;
mod text;
mod writer;

#[cfg(test)]
mod tests;

use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use self::stream::WebSocketStream;
pub use self::{
    fault::WebSocketFault,
    handshake::{accept_key, is_key},
    options::WebSocketOptions,
};
use crate::{BoxFuture, Connection, Peer, PeerState, Url};

/// A WebSocket connection, possibly before the end of its handshake.
pub(crate) struct WebSocket(State);

enum State {
    Accepting(BoxFuture<'static, io::Result<WebSocketStream>>),
    Open(WebSocketStream),
    Failed,
}

impl WebSocket {
    /// Creates the server's side of a connection. [`poll_handshake`](Self::poll_handshake) waits
    /// for the request of the client.
    pub(crate) fn accept(mut connection: Connection, options: &WebSocketOptions) -> Self {
        let options = options.clone();
        Self(State::Accepting(Box::pin(async move {
            match connection.handshake().await {
                Ok(()) => handshake::accept(connection, &options).await,
                Err(error) => handshake::refuse_plain(connection, error).await,
            }
        })))
    }

    /// Creates the server's side of a connection whose handshake is complete. `received` are the
    /// bytes after the handshake.
    pub(crate) fn upgraded(
        connection: Connection,
        options: &WebSocketOptions,
        received: &[u8],
    ) -> Self {
        let stream = WebSocketStream::server(connection, options, received);
        Self(State::Open(stream))
    }

    /// Opens a WebSocket over a connection.
    pub(crate) async fn connect(
        connection: Connection,
        url: &Url,
        options: &WebSocketOptions,
    ) -> io::Result<Self> {
        let stream = handshake::connect(connection, url, options).await?;
        Ok(Self(State::Open(stream)))
    }

    pub(crate) fn needs_handshake(&self) -> bool {
        !matches!(self.0, State::Open(_))
    }

    /// Polls the handshake. Returns the peer when the handshake has just ended.
    pub(crate) fn poll_handshake(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Option<Peer>>> {
        match &mut self.0 {
            State::Open(_) => Poll::Ready(Ok(None)),
            State::Failed => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
            State::Accepting(accepting) => match ready!(accepting.as_mut().poll(cx)) {
                Ok(stream) => {
                    let peer = stream.peer();
                    self.0 = State::Open(stream);
                    Poll::Ready(Ok(Some(peer)))
                }
                Err(error) => {
                    self.0 = State::Failed;
                    Poll::Ready(Err(error))
                }
            },
        }
    }

    /// Returns the header `Authorization` of the client's request, once.
    pub(crate) fn take_authorization(&mut self) -> Option<Box<str>> {
        match &mut self.0 {
            State::Open(stream) => stream.take_authorization(),
            _ => None,
        }
    }

    pub(crate) fn peer_state(&mut self, cx: &mut Context<'_>) -> PeerState {
        match &mut self.0 {
            State::Open(stream) => stream.peer_state(cx),
            State::Accepting(_) => PeerState::Open,
            State::Failed => PeerState::Closed,
        }
    }

    /// Returns the stream once the handshake is complete.
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Pin<&mut WebSocketStream>>> {
        ready!(self.poll_handshake(cx))?;
        Poll::Ready(match &mut self.0 {
            State::Open(stream) => Ok(Pin::new(stream)),
            _ => Err(io::ErrorKind::NotConnected.into()),
        })
    }
}

impl fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebSocket")
    }
}

impl AsyncRead for WebSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_open(cx))?.poll_read(cx, buf)
    }
}

impl AsyncWrite for WebSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_open(cx))?.poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_open(cx))?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            State::Open(stream) => Pin::new(stream).poll_shutdown(cx),
            _ => Poll::Ready(Ok(())),
        }
    }
}
