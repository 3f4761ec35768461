//! The TCP carrier.

use std::{
    io,
    task::{Context, Poll, ready},
};

use tokio::net::{TcpListener, TcpStream};

use crate::{Connection, Endpoint, PeerAddr};

pub(crate) async fn connect(host: &str, port: u16) -> io::Result<Connection> {
    let stream = TcpStream::connect((host, port)).await?;
    let peer = stream.peer_addr()?;
    // A connection to an unused port of the ephemeral range can connect to itself: the kernel
    // chooses that same port for the local end, and TCP then opens it from both sides at once.
    if stream.local_addr()? == peer {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(Connection::tcp(stream, PeerAddr::Tcp(peer)))
}

pub(crate) struct TcpAcceptor(TcpListener);

impl TcpAcceptor {
    /// Binds to a host and port, and returns the port, which the system chooses if `port` is 0.
    pub(crate) async fn bind(host: &str, port: u16) -> io::Result<(Self, u16)> {
        let listener = TcpListener::bind((host, port)).await?;
        let port = listener.local_addr()?.port();
        Ok((Self(listener), port))
    }

    /// Takes over a listener, and returns the endpoint that it listens on.
    pub(crate) fn adopt(listener: TcpListener) -> io::Result<(Self, Endpoint)> {
        let endpoint = listener.local_addr()?.into();
        Ok((Self(listener), endpoint))
    }

    pub(crate) fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Connection>> {
        let (stream, address) = ready!(self.0.poll_accept(cx))?;
        Poll::Ready(Ok(Connection::tcp(stream, PeerAddr::Tcp(address))))
    }
}
