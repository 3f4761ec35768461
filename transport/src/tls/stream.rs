//! A byte stream over TLS, from its accepted socket on.

use std::{
    io::{self, IoSlice},
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{FallibleAccept, TlsAcceptor, client, server};

use super::{certificate, problem};
use crate::{PeerCertificate, TlsError};

/// A TLS connection over a TCP socket.
pub(crate) enum TlsStream {
    /// No byte has arrived. rustls is not involved, so that a silent peer costs no more than over
    /// TCP.
    Accepted(TcpStream, Arc<ServerConfig>),
    Handshaking(Box<FallibleAccept<TcpStream>>),
    Server(Box<server::TlsStream<TcpStream>>),
    Client(Box<client::TlsStream<TcpStream>>),
    /// The handshake has failed. What is written now is not encrypted.
    Failed(TcpStream),
    Closed,
}

impl TlsStream {
    /// Starts the handshake of an accepted socket.
    pub(crate) fn accepted(stream: TcpStream, config: Arc<ServerConfig>) -> Self {
        Self::Accepted(stream, config)
    }

    /// Converts a connection whose handshake is complete, and returns the certificate of the
    /// server.
    pub(super) fn client(
        stream: client::TlsStream<TcpStream>,
    ) -> Result<(Self, Option<PeerCertificate>), TlsError> {
        let certificate = peer_certificate(stream.get_ref().1)?;
        Ok((Self::Client(Box::new(stream)), certificate))
    }

    pub(crate) fn needs_handshake(&self) -> bool {
        matches!(self, Self::Accepted(..) | Self::Handshaking(_))
    }

    /// Completes the handshake, and returns the certificate of the client. After a failure, the
    /// stream writes what follows without encryption.
    pub(crate) fn poll_handshake(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<PeerCertificate>, TlsError>> {
        loop {
            match self {
                Self::Accepted(stream, _) => {
                    let mut first = [0];
                    let peeked = ready!(stream.poll_peek(cx, &mut ReadBuf::new(&mut first)));
                    let problem = match peeked {
                        Ok(1) if first[0] == HANDSHAKE => None,
                        Ok(1) => Some(TlsError::NotTls),
                        Ok(_) | Err(_) => Some(TlsError::Closed),
                    };
                    if let Self::Accepted(stream, config) = mem::replace(self, Self::Closed) {
                        if let Some(problem) = problem {
                            *self = Self::Failed(stream);
                            return Poll::Ready(Err(problem));
                        }
                        let accepting = TlsAcceptor::from(config).accept(stream);
                        *self = Self::Handshaking(Box::new(accepting.into_fallible()));
                    }
                }
                Self::Handshaking(handshake) => match ready!(Pin::new(&mut **handshake).poll(cx)) {
                    Ok(stream) => {
                        let certificate = peer_certificate(stream.get_ref().1);
                        *self = Self::Server(Box::new(stream));
                        return Poll::Ready(certificate);
                    }
                    Err((error, stream)) => {
                        *self = Self::Failed(stream);
                        let problem = problem::of_handshake(error);
                        return Poll::Ready(Err(problem.unwrap_or(TlsError::Closed)));
                    }
                },
                Self::Server(_) | Self::Client(_) => return Poll::Ready(Ok(None)),
                Self::Failed(_) | Self::Closed => return Poll::Ready(Err(TlsError::Closed)),
            }
        }
    }

    /// Returns the application protocol that the handshake has chosen.
    pub(crate) fn protocol(&self) -> Option<&[u8]> {
        match self {
            Self::Server(stream) => stream.get_ref().1.alpn_protocol(),
            Self::Client(stream) => stream.get_ref().1.alpn_protocol(),
            _ => None,
        }
    }

    /// Returns the socket below TLS. During the handshake, rustls has the socket.
    pub(crate) fn socket(&self) -> Option<&TcpStream> {
        match self {
            Self::Accepted(stream, _) | Self::Failed(stream) => Some(stream),
            Self::Server(stream) => Some(stream.get_ref().0),
            Self::Client(stream) => Some(stream.get_ref().0),
            Self::Handshaking(_) | Self::Closed => None,
        }
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = match &mut *self {
            Self::Server(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Client(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Failed(stream) => return Pin::new(stream).poll_read(cx, buf),
            _ => return Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        };
        match ready!(read) {
            // The peer ended the connection without the alert close_notify. The frames show
            // whether the end is complete.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
            result => Poll::Ready(result.map_err(problem::of_transfer)),
        }
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = match &mut *self {
            Self::Server(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Client(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Failed(stream) => Pin::new(stream).poll_write(cx, buf),
            _ => return Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        };
        written.map_err(problem::of_transfer)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = match &mut *self {
            Self::Server(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Client(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Failed(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            _ => return Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        };
        written.map_err(problem::of_transfer)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Server(stream) => Pin::new(stream).poll_flush(cx),
            Self::Client(stream) => Pin::new(stream).poll_flush(cx),
            Self::Failed(stream) => Pin::new(stream).poll_flush(cx),
            _ => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Server(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Client(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Failed(stream) | Self::Accepted(stream, _) => Pin::new(stream).poll_shutdown(cx),
            // Dropping the stream ends the handshake.
            Self::Handshaking(_) | Self::Closed => Poll::Ready(Ok(())),
        }
    }
}

/// Returns the certificate that the peer has presented and rustls has verified.
fn peer_certificate(connection: &rustls::CommonState) -> Result<Option<PeerCertificate>, TlsError> {
    let chain = connection.peer_certificates();
    let own = chain.and_then(|chain| chain.first());
    own.map(|own| certificate::read(own)).transpose()
}

/// The first byte of a TLS connection: the type of the record with the first message.
const HANDSHAKE: u8 = 0x16;
