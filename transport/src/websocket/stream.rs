//! The byte stream over a WebSocket connection.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    task::AbortHandle,
};

use super::{
    header::Role,
    idle::{Watched, keep},
    options::WebSocketOptions,
    socket::Socket,
};
use crate::{Connection, Peer, PeerState, internal::Mutex};

/// A byte stream of frames with a length, over a WebSocket connection.
///
/// Pings are answered while the stream is read. A client may leave a connection unread in a pool,
/// so a task reads it from time to time (see [`WebSocketStream::client`]).
#[derive(Debug)]
pub(super) struct WebSocketStream {
    watched: Arc<Mutex<Watched>>,
    /// The task that answers the pings of an idle client connection.
    keeper: Option<AbortHandle>,
    /// The header `Authorization` of the handshake, on the server's side.
    authorization: Option<Box<str>>,
}

impl WebSocketStream {
    /// Creates the server's side after a handshake. `received` are the bytes after the handshake.
    pub(super) fn server(
        connection: Connection,
        options: &WebSocketOptions,
        received: &[u8],
    ) -> Self {
        let socket = Socket::new(connection, Role::Server, options, received);
        Self {
            watched: Arc::new(Mutex::new(Watched::new(socket))),
            keeper: None,
            authorization: None,
        }
    }

    /// Creates the client's side after a handshake, and spawns a task that reads control frames
    /// while the connection is idle. The task ends when the stream is dropped.
    pub(super) fn client(
        connection: Connection,
        options: &WebSocketOptions,
        received: &[u8],
    ) -> Self {
        let socket = Socket::new(connection, Role::Client, options, received);
        let watched = Arc::new(Mutex::new(Watched::new(socket)));
        let interval = (options.ping_interval / 4).max(Duration::from_millis(10));
        let keeper = tokio::spawn(keep(Arc::downgrade(&watched), interval));
        Self {
            watched,
            keeper: Some(keeper.abort_handle()),
            authorization: None,
        }
    }

    pub(super) fn with_authorization(mut self, authorization: Option<Box<str>>) -> Self {
        self.authorization = authorization;
        self
    }

    pub(super) fn take_authorization(&mut self) -> Option<Box<str>> {
        self.authorization.take()
    }

    pub(super) fn peer(&self) -> Peer {
        self.watched.lock().socket.peer()
    }

    pub(super) fn peer_state(&mut self, cx: &mut Context<'_>) -> PeerState {
        self.watched.lock().socket.peer_state(cx)
    }
}

impl Drop for WebSocketStream {
    fn drop(&mut self) {
        if let Some(keeper) = &self.keeper {
            keeper.abort();
        }
    }
}

impl AsyncRead for WebSocketStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut watched = self.watched.lock();
        let read = watched.socket.poll_read(cx, buf);
        if self.keeper.is_some() {
            watched.record_reader(cx, read.is_pending());
        }
        read
    }
}

impl AsyncWrite for WebSocketStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut watched = self.watched.lock();
        let socket = &mut watched.socket;
        let written = socket.poll_write(cx, bytes);
        socket.record_writer(cx, written.is_pending());
        written
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut watched = self.watched.lock();
        let socket = &mut watched.socket;
        let flushed = socket.poll_flush(cx);
        socket.record_writer(cx, flushed.is_pending());
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut watched = self.watched.lock();
        let socket = &mut watched.socket;
        let closed = socket.poll_shutdown(cx);
        socket.record_writer(cx, closed.is_pending());
        closed
    }
}
