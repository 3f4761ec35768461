//! The byte stream of a connection, which is different for every carrier.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf},
    net::TcpStream,
};

#[cfg(unix)]
use crate::probe::{peek, peek_if_readable};
#[cfg(feature = "websocket")]
use crate::websocket::WebSocket;
use crate::{Peer, PeerState, ProbeResult, peer_state::poll_write_nothing, probe::poll_once};
#[cfg(feature = "tls")]
use crate::{PeerCertificate, tls::TlsStream};

/// The stream of one carrier.
pub(super) enum Stream {
    #[cfg(unix)]
    Unix(UnixStream),
    Tcp(TcpStream),
    Memory(DuplexStream),
    #[cfg(feature = "tls")]
    Tls(Box<TlsStream>),
    #[cfg(feature = "websocket")]
    WebSocket(Box<WebSocket>),
    Custom(Box<dyn ByteStream>),
}

impl Stream {
    pub(super) fn custom(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        Self::Custom(Box::new(stream))
    }

    /// Returns true until the handshake of the carrier is complete.
    #[inline]
    pub(super) fn needs_handshake(&self) -> bool {
        #[cfg(feature = "tls")]
        if let Self::Tls(stream) = self {
            return stream.needs_handshake();
        }
        #[cfg(feature = "websocket")]
        if let Self::WebSocket(stream) = self {
            return stream.needs_handshake();
        }
        false
    }

    /// Checks without waiting whether an idle stream is still usable.
    #[inline]
    pub(super) fn probe(&mut self, peer: &Peer) -> ProbeResult {
        #[cfg(not(feature = "tls"))]
        let _ = peer;
        match self {
            #[cfg(unix)]
            Self::Unix(stream) => peek(stream),
            #[cfg(unix)]
            Self::Tcp(stream) => peek(stream),
            #[cfg(not(unix))]
            Self::Tcp(stream) => poll_once(stream),
            Self::Memory(stream) => poll_once(stream),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => probe_tls(stream, peer),
            #[cfg(feature = "websocket")]
            Self::WebSocket(stream) => poll_once(stream),
            Self::Custom(stream) => poll_once(stream),
        }
    }

    /// Checks like `probe`, but uses the readiness that the runtime has cached.
    #[inline]
    pub(super) fn probe_cached(&mut self, peer: &Peer) -> ProbeResult {
        match self {
            #[cfg(unix)]
            Self::Unix(stream) => peek_if_readable(stream),
            _ => self.probe(peer),
        }
    }

    /// Returns whether the peer has ended its side of the stream, as far as that is known without
    /// reading. `has_ended` says whether a read has reached the end.
    #[inline]
    pub(super) fn peer_state(&mut self, cx: &mut Context<'_>, has_ended: bool) -> PeerState {
        match self {
            #[cfg(unix)]
            Self::Unix(stream) => crate::peer_state::of_unix_socket(stream, has_ended),
            #[cfg(unix)]
            Self::Tcp(stream) => crate::peer_state::of_tcp_socket(stream, has_ended),
            #[cfg(all(unix, feature = "tls"))]
            Self::Tls(stream) => match stream.socket() {
                Some(socket) => crate::peer_state::of_tcp_socket(socket, has_ended),
                None => PeerState::Open,
            },
            Self::Memory(stream) => poll_write_nothing(stream, cx, has_ended),
            #[cfg(feature = "websocket")]
            Self::WebSocket(stream) => stream.peer_state(cx),
            _ if has_ended => PeerState::Ended,
            _ => PeerState::Open,
        }
    }
}

macro_rules! delegate {
    ($stream:expr, $inner:ident => $call:expr) => {
        match $stream {
            #[cfg(unix)]
            Self::Unix($inner) => $call,
            Self::Tcp($inner) => $call,
            Self::Memory($inner) => $call,
            #[cfg(feature = "tls")]
            Self::Tls($inner) => $call,
            #[cfg(feature = "websocket")]
            Self::WebSocket($inner) => $call,
            Self::Custom($inner) => $call,
        }
    };
}

impl AsyncRead for Stream {
    #[inline]
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        delegate!(self.get_mut(), stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    #[inline]
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        delegate!(self.get_mut(), stream => Pin::new(stream).poll_write(cx, buf))
    }

    #[inline]
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        delegate!(self.get_mut(), stream => Pin::new(stream).poll_write_vectored(cx, bufs))
    }

    #[inline]
    fn is_write_vectored(&self) -> bool {
        delegate!(self, stream => stream.is_write_vectored())
    }

    #[inline]
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self.get_mut(), stream => Pin::new(stream).poll_flush(cx))
    }

    #[inline]
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self.get_mut(), stream => Pin::new(stream).poll_shutdown(cx))
    }
}

/// Probes a TLS connection. Messages of TLS, such as session tickets, are not unexpected data.
#[cfg(feature = "tls")]
fn probe_tls(stream: &mut TlsStream, peer: &Peer) -> ProbeResult {
    let has_expired =
        |certificate: &PeerCertificate| certificate.not_after() < std::time::SystemTime::now();
    if peer.certificate().is_some_and(has_expired) {
        return ProbeResult::Closed;
    }
    let found = poll_once(stream);
    // Bytes for TLS may have arrived without the runtime's knowledge.
    #[cfg(unix)]
    if found == ProbeResult::Idle {
        return stream.socket().map_or(ProbeResult::Closed, peek);
    }
    found
}

/// A stream of a custom carrier.
pub(super) trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for S {}
