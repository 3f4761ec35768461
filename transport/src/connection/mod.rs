//! The connection type, which is the same for every carrier.
//!
//! A `Connection` knows its peer, its runtime and its handshake. The `stream` below it is the byte
//! stream of one carrier.

mod stream;

#[cfg(any(feature = "tls", feature = "websocket"))]
use std::task::ready;
use std::{
    fmt,
    future::poll_fn,
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf},
    net::TcpStream,
};

use self::stream::Stream;
#[cfg(unix)]
use crate::Credentials;
use crate::{Error, Peer, PeerAddr, PeerState, ProbeResult, TcpOptions, internal::RuntimeAffinity};
#[cfg(feature = "tls")]
use crate::{PeerCertificate, tls::TlsStream};

#[cfg(feature = "websocket")]
use crate::websocket::WebSocket;

/// An open byte stream to a peer over any carrier.
///
/// Writes are not buffered, so combine small writes before you send them. Vectored writes are
/// passed to the socket unchanged. Dropping the connection closes it;
/// [`shutdown`](tokio::io::AsyncWriteExt::shutdown) closes only the sending half.
///
/// A [`TcpStream`] or [`UnixStream`](tokio::net::UnixStream) that you opened or accepted yourself
/// can be converted into a `Connection`. The result behaves like a connection that this crate
/// opened:
///
/// ```no_run
/// # mod agentwire { pub extern crate agentwire_transport as transport; }
/// # async fn example() -> std::io::Result<()> {
/// use agentwire::transport::Connection;
/// use tokio::net::TcpStream;
///
/// let connection = Connection::from(TcpStream::connect("[::1]:7000").await?);
/// # Ok(())
/// # }
/// ```
pub struct Connection {
    stream: Stream,
    peer: Peer,
    affinity: RuntimeAffinity,
    /// Whether a read has reached the end of the peer's bytes.
    has_ended: bool,
}

impl Connection {
    /// Creates a connection from a stream of a custom carrier.
    ///
    /// `peer` is shown in logs, and agents can read it as the address of their caller.
    pub fn custom<S>(stream: S, peer: impl Into<Peer>) -> Self
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        Self {
            stream: Stream::custom(stream),
            peer: peer.into(),
            affinity: RuntimeAffinity::current(),
            has_ended: false,
        }
    }

    #[cfg(unix)]
    pub(crate) fn unix(stream: UnixStream, address: PeerAddr) -> Self {
        let mut peer = Peer::new(address);
        if let Ok(found) = stream.peer_cred() {
            peer = peer.with_credentials(Credentials::new(found.uid(), found.gid(), found.pid()));
        }
        Self {
            stream: Stream::Unix(stream),
            peer,
            affinity: RuntimeAffinity::current(),
            has_ended: false,
        }
    }

    pub(crate) fn tcp(stream: TcpStream, address: PeerAddr, options: &TcpOptions) -> Self {
        options.apply(&stream);
        Self {
            stream: Stream::Tcp(stream),
            peer: Peer::new(address),
            affinity: RuntimeAffinity::current(),
            has_ended: false,
        }
    }

    /// Converts an accepted TCP connection into a TLS connection before its handshake.
    #[cfg(feature = "tls")]
    pub(crate) fn accept_tls(mut self, config: Arc<rustls::ServerConfig>) -> Self {
        if let Stream::Tcp(stream) = self.stream {
            self.stream = Stream::Tls(Box::new(TlsStream::accepted(stream, config)));
        }
        self
    }

    /// Creates a TLS connection whose handshake is complete.
    #[cfg(feature = "tls")]
    pub(crate) fn tls(
        stream: TlsStream,
        address: PeerAddr,
        certificate: Option<PeerCertificate>,
    ) -> Self {
        let mut peer = Peer::new(address);
        if let Some(certificate) = certificate {
            peer = peer.with_certificate(certificate);
        }
        Self {
            stream: Stream::Tls(Box::new(stream)),
            peer,
            affinity: RuntimeAffinity::current(),
            has_ended: false,
        }
    }

    /// Converts an accepted connection into a WebSocket connection before its handshake.
    #[cfg(feature = "websocket")]
    pub(crate) fn accept_websocket(self, options: &crate::WebSocketOptions) -> Self {
        let (peer, affinity) = (self.peer.clone(), self.affinity);
        Self {
            stream: Stream::WebSocket(Box::new(WebSocket::accept(self, options))),
            peer,
            affinity,
            has_ended: false,
        }
    }

    /// Converts a connection into the server's side of a WebSocket whose handshake is complete, for
    /// example one that an HTTP server has upgraded. `received` are the bytes that the server has
    /// read after the handshake. This crate's frames can then be read from the connection.
    #[cfg(feature = "websocket")]
    #[must_use]
    #[doc(hidden)]
    pub fn into_websocket(self, options: &crate::WebSocketOptions, received: &[u8]) -> Self {
        let (peer, affinity) = (self.peer.clone(), self.affinity);
        let socket = WebSocket::upgraded(self, options, received);
        Self {
            stream: Stream::WebSocket(Box::new(socket)),
            peer,
            affinity,
            has_ended: false,
        }
    }

    /// Opens a WebSocket over a connection.
    #[cfg(feature = "websocket")]
    pub(crate) async fn open_websocket(
        self,
        url: &crate::Url,
        options: &crate::WebSocketOptions,
    ) -> io::Result<Self> {
        let (peer, affinity) = (self.peer.clone(), self.affinity);
        let stream = WebSocket::connect(self, url, options).await?;
        Ok(Self {
            stream: Stream::WebSocket(Box::new(stream)),
            peer,
            affinity,
            has_ended: false,
        })
    }

    pub(crate) fn memory(stream: DuplexStream, name: Arc<str>) -> Self {
        Self {
            stream: Stream::Memory(stream),
            peer: Peer::new(PeerAddr::Memory(name)),
            affinity: RuntimeAffinity::ANY,
            has_ended: false,
        }
    }

    /// Returns the peer, which has an address and, for a Unix socket, credentials.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Returns the application protocol that the handshake of TLS has chosen (ALPN), if any. This
    /// method is exempt from semver.
    #[doc(hidden)]
    pub fn protocol(&self) -> Option<&[u8]> {
        match &self.stream {
            #[cfg(feature = "tls")]
            Stream::Tls(stream) => stream.protocol(),
            _ => None,
        }
    }

    /// Completes the handshake of the carrier.
    ///
    /// [`Listener::accept`](crate::Listener::accept) returns a TLS or WebSocket connection before
    /// its handshake, so that a slow peer delays no other one. Await this method in the task of the
    /// connection, with a time limit, before the first read or write. Afterwards,
    /// [`peer`](Self::peer) has the certificate of the peer. For other carriers, and for
    /// connections that were opened by this side, the method returns immediately.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Handshake`] if the handshake of TLS fails, and [`Error::Upgrade`] if that
    /// of WebSocket fails.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe. If the future is dropped, a later call continues the handshake.
    pub async fn handshake(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_handshake(cx)).await
    }

    /// Polls the handshake of the carrier. See [`handshake`](Self::handshake).
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`handshake`](Self::handshake).
    pub fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        #[cfg(feature = "tls")]
        if let Stream::Tls(stream) = &mut self.stream {
            return match ready!(stream.poll_handshake(cx)) {
                Ok(certificate) => {
                    if let Some(certificate) = certificate {
                        self.peer = self.peer.clone().with_certificate(certificate);
                    }
                    Poll::Ready(Ok(()))
                }
                Err(source) => Poll::Ready(Err(Error::Handshake {
                    peer: Box::new(self.peer.clone()),
                    source,
                })),
            };
        }
        #[cfg(feature = "websocket")]
        if let Stream::WebSocket(stream) = &mut self.stream {
            return match ready!(stream.poll_handshake(cx)) {
                Ok(peer) => {
                    if let Some(peer) = peer {
                        self.peer = peer;
                    }
                    Poll::Ready(Ok(()))
                }
                Err(source) => Poll::Ready(Err(Error::Upgrade {
                    peer: Box::new(self.peer.clone()),
                    source,
                })),
            };
        }
        let _ = cx;
        Poll::Ready(Ok(()))
    }

    /// Returns the header `Authorization` with which a client has opened a WebSocket. A second call
    /// returns nothing.
    #[doc(hidden)]
    pub fn take_authorization(&mut self) -> Option<Box<str>> {
        match &mut self.stream {
            #[cfg(feature = "websocket")]
            Stream::WebSocket(stream) => stream.take_authorization(),
            _ => None,
        }
    }

    /// Returns true until the handshake of the carrier is complete.
    pub fn needs_handshake(&self) -> bool {
        self.stream.needs_handshake()
    }

    /// Returns true if the connection can make progress in the current runtime.
    ///
    /// A socket belongs to the runtime in which it was opened. A current-thread runtime drives its
    /// sockets only while a thread blocks on one of its futures. Therefore, a connection pool that
    /// several runtimes share must not return a connection that belongs to a different
    /// current-thread runtime. Memory connections, and connections of a runtime with worker
    /// threads, can be used in any runtime.
    pub fn is_driven_here(&self) -> bool {
        self.affinity.includes_current()
    }

    /// Checks without waiting whether an idle connection is still usable.
    ///
    /// A connection pool calls this method before it reuses a connection. If the result is not
    /// [`ProbeResult::Idle`], drop the connection without reading from it, because the probe may
    /// have consumed a byte. The peer can close the connection at any time, even directly after a
    /// successful probe.
    ///
    /// On a socket, the probe makes one system call, which consumes no bytes. Other streams are
    /// polled once.
    pub fn probe(&mut self) -> ProbeResult {
        self.stream.probe(&self.peer)
    }

    /// Checks like [`probe`](Self::probe), but uses the readiness that the runtime has cached.
    ///
    /// Use this method for a connection that was used very recently. On a Unix socket, the method
    /// makes no system call unless the runtime has seen the socket become readable. Events that
    /// occurred after the runtime last polled the system are missed. If the peer closed the Unix
    /// socket in the meantime, the next write fails without sending anything. On TCP, such a write
    /// would succeed, so this method always makes the system call on a TCP socket.
    pub fn probe_cached(&mut self) -> ProbeResult {
        self.stream.probe_cached(&self.peer)
    }

    /// Returns whether the peer has ended its side of the connection, as far as that is known
    /// without reading.
    ///
    /// A server calls this to tell a peer that waits for its answers from a peer that has left,
    /// also while it reads nothing from the peer. A socket costs one system call, which does not
    /// wait. The task of `cx` is not woken when the state changes.
    pub fn peer_state(&mut self, cx: &mut Context<'_>) -> PeerState {
        self.stream.peer_state(cx, self.has_ended)
    }
}

/// Converts a stream that was opened or accepted elsewhere, and sets the default [`TcpOptions`].
///
/// Call this function in the runtime to which the stream belongs.
impl From<TcpStream> for Connection {
    fn from(stream: TcpStream) -> Self {
        // The address is not available if the peer has already reset the connection.
        let address = stream.peer_addr().map_or(PeerAddr::Unknown, PeerAddr::Tcp);
        Self::tcp(stream, address, &TcpOptions::default())
    }
}

/// Converts a stream that was opened or accepted elsewhere.
///
/// Call this function in the runtime to which the stream belongs.
#[cfg(unix)]
impl From<UnixStream> for Connection {
    fn from(stream: UnixStream) -> Self {
        let address = match stream.peer_addr() {
            Ok(address) => crate::unix::peer_addr(&address),
            Err(_) => PeerAddr::Unix(None),
        };
        Self::unix(stream, address)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        #[cfg(any(feature = "tls", feature = "websocket"))]
        if self.needs_handshake() {
            ready!(self.poll_handshake(cx)).map_err(io::Error::other)?;
        }
        let before = buf.remaining();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if before > 0 && buf.remaining() == before && matches!(read, Poll::Ready(Ok(()))) {
            self.has_ended = true;
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        #[cfg(any(feature = "tls", feature = "websocket"))]
        if self.needs_handshake() {
            ready!(self.poll_handshake(cx)).map_err(io::Error::other)?;
        }
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        #[cfg(any(feature = "tls", feature = "websocket"))]
        if self.needs_handshake() {
            ready!(self.poll_handshake(cx)).map_err(io::Error::other)?;
        }
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_send_and_unpin() {
        fn check<T: Send + Unpin + 'static>() {}
        check::<Connection>();
    }

    #[test]
    fn debug_shows_only_the_peer() {
        let (near, _far) = tokio::io::duplex(8);
        let shown = format!("{:?}", Connection::custom(near, "a line"));
        let peer = r#"Peer { address: Custom("a line"), credentials: None, certificate: None }"#;
        assert_eq!(shown, format!("Connection {{ peer: {peer}, .. }}"));
    }

    #[test]
    fn a_boxed_stream_keeps_its_vectored_writes() {
        let (near, _far) = tokio::io::duplex(8);
        assert!(Connection::custom(near, "").is_write_vectored());
    }

    #[cfg(unix)]
    #[test]
    fn a_socket_belongs_to_its_current_thread_runtime_and_memory_to_none() {
        let current_thread = || {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            builder.enable_all().build().expect("runtime")
        };
        let [first, second] = [current_thread(), current_thread()];
        let (socket, memory) = first.block_on(async {
            let (near, _far) = UnixStream::pair().expect("pair");
            let (pipe, _far) = tokio::io::duplex(8);
            (Connection::from(near), Connection::memory(pipe, "a".into()))
        });
        first.block_on(async { assert!(socket.is_driven_here() && memory.is_driven_here()) });
        second.block_on(async { assert!(!socket.is_driven_here() && memory.is_driven_here()) });
    }

    #[tokio::test]
    async fn both_sides_of_tcp_send_without_delay_and_are_kept_alive() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("bind");
        let address = listener.local_addr().expect("address");
        let client = TcpStream::connect(address).await.expect("connect");
        let (server, _) = listener.accept().await.expect("accept");
        for stream in [client, server] {
            match Connection::from(stream).stream {
                Stream::Tcp(stream) => {
                    assert!(stream.nodelay().expect("option"));
                    #[cfg(unix)]
                    assert!(rustix::net::sockopt::socket_keepalive(&stream).expect("option"));
                }
                _ => panic!("not TCP"),
            }
        }
    }
}
