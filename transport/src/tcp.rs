use std::io;
use std::task::{Context, Poll, ready};

use tokio::net::{TcpListener, TcpStream};

use crate::{Connection, Peer};

pub(crate) async fn connect(host: &str, port: u16) -> io::Result<Connection> {
    let stream = TcpStream::connect((host, port)).await?;
    let peer = stream.peer_addr()?;
    // A connection to a free port of the ephemeral range can meet itself: the kernel picks the
    // very same port for our end, and TCP has it open from both sides at once.
    if stream.local_addr()? == peer {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(Connection::tcp(stream, Peer::Tcp(peer)))
}

pub(crate) struct TcpAcceptor {
    listener: TcpListener,
    port: u16,
}

impl TcpAcceptor {
    pub(crate) async fn bind(host: &str, port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((host, port)).await?;
        let port = listener.local_addr()?.port();
        Ok(Self { listener, port })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Connection>> {
        let (stream, address) = ready!(self.listener.poll_accept(cx))?;
        Poll::Ready(Ok(Connection::tcp(stream, Peer::Tcp(address))))
    }
}
