//! The TCP carrier.

mod acceptor;
mod options;
mod race;
mod resolve;

use std::{io, net::SocketAddr};

use tokio::net::TcpStream;

pub(crate) use self::acceptor::TcpAcceptor;
pub use self::options::TcpOptions;
use self::{race::race, resolve::resolve};
use crate::{Connection, PeerAddr};

pub(crate) async fn connect(host: &str, port: u16, options: &TcpOptions) -> io::Result<Connection> {
    let (stream, peer) = connect_stream(host, port).await?;
    Ok(Connection::tcp(stream, PeerAddr::Tcp(peer), options))
}

/// Opens a socket to the first address of the host that answers.
pub(crate) async fn connect_stream(host: &str, port: u16) -> io::Result<(TcpStream, SocketAddr)> {
    let addresses = resolve(host, port).await?;
    race(addresses, attempt).await
}

async fn attempt(address: SocketAddr) -> io::Result<(TcpStream, SocketAddr)> {
    let stream = TcpStream::connect(address).await?;
    let peer = stream.peer_addr()?;
    // A connection to an unused ephemeral port can be connected to itself. TCP supports
    // simultaneous open, so this happens if the kernel chooses the same port as the local port.
    if stream.local_addr()? == peer {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok((stream, peer))
}
