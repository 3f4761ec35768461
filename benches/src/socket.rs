//! A common type for Tokio's sockets, for peers without their own transport.

use std::{io, time::Duration};

use agentwire::Endpoint;
use tokio::{
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    time::{sleep, timeout},
};
use tokio_util::either::Either;

use crate::BenchError;

/// A byte stream over either carrier.
pub(crate) type Socket = Either<UnixStream, TcpStream>;

/// A listener on either carrier.
pub(crate) enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

pub(crate) async fn connect(endpoint: &Endpoint) -> Result<Socket, BenchError> {
    let connect = async {
        loop {
            match try_connect(endpoint).await {
                // The accept queue of the Unix socket is full, so try again.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    sleep(Duration::from_millis(1)).await;
                }
                connected => return connected,
            }
        }
    };
    Ok(timeout(CONNECT_TIMEOUT, connect).await??)
}

async fn try_connect(endpoint: &Endpoint) -> io::Result<Socket> {
    match endpoint {
        Endpoint::Unix { path, .. } => Ok(Either::Left(UnixStream::connect(path).await?)),
        Endpoint::Tcp { host, port, .. } => {
            let stream = TcpStream::connect((host.as_str(), *port)).await?;
            stream.set_nodelay(true)?;
            Ok(Either::Right(stream))
        }
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

impl Listener {
    pub(crate) async fn bind(endpoint: &Endpoint) -> Result<Self, BenchError> {
        match endpoint {
            Endpoint::Unix { path, .. } => Ok(Self::Unix(UnixListener::bind(path)?)),
            Endpoint::Tcp { host, port, .. } => {
                Ok(Self::Tcp(TcpListener::bind((host.as_str(), *port)).await?))
            }
            other => Err(format!("{other} is neither a Unix nor a TCP endpoint").into()),
        }
    }

    /// Returns the endpoint of the listener. For TCP, it contains the port that the system chose.
    pub(crate) fn endpoint(&self) -> Result<Endpoint, BenchError> {
        match self {
            Self::Unix(listener) => {
                let address = listener.local_addr()?;
                Ok(Endpoint::unix(address.as_pathname().ok_or("no path")?)?)
            }
            Self::Tcp(listener) => {
                let address = listener.local_addr()?;
                Ok(Endpoint::tcp(address.ip().to_string(), address.port())?)
            }
        }
    }

    pub(crate) async fn accept(&self) -> Result<Socket, BenchError> {
        match self {
            Self::Unix(listener) => Ok(Either::Left(listener.accept().await?.0)),
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Either::Right(stream))
            }
        }
    }
}

/// The maximum time to wait until the accept queue has capacity.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
