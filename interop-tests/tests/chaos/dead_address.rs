//! An address at which connections neither succeed nor fail.

use std::net::SocketAddr;

use agentwire::Endpoint;
use agentwire_interop_tests::TestFailure;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinSet,
};

/// A TCP port that swallows what arrives, as a firewall does: its queue of connections is full.
pub(crate) struct DeadAddress {
    listener: TcpListener,
    /// The attempts that fill the queue. Most of them never end.
    _attempts: JoinSet<std::io::Result<TcpStream>>,
}

impl DeadAddress {
    pub(crate) fn new(address: SocketAddr) -> Result<Self, TestFailure> {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.bind(address)?;
        let listener = socket.listen(1)?;
        let address = listener.local_addr()?;
        let mut attempts = JoinSet::new();
        for _ in 0..QUEUE_LEN {
            attempts.spawn(async move {
                let stream = TcpStream::connect(address).await?;
                std::future::pending::<()>().await;
                Ok(stream)
            });
        }
        Ok(Self {
            listener,
            _attempts: attempts,
        })
    }

    pub(crate) fn endpoint(&self) -> Result<Endpoint, TestFailure> {
        Ok(self.listener.local_addr()?.into())
    }
}

/// More connections than the system queues for a listener that asks for one.
const QUEUE_LEN: usize = 4;
