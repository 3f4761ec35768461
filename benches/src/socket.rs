use std::{io, time::Duration};

use agentwire::Endpoint;
use tokio::{
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    time::{sleep, timeout},
};
use tokio_util::either::Either;

use crate::Failure;

/// A socket of tokio, of either kind.
pub(crate) type Socket = Either<UnixStream, TcpStream>;

/// A listener of tokio, of either kind.
pub(crate) enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

/// How long a queue may stay full into which a connection does not fit.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) async fn connect(endpoint: &Endpoint) -> Result<Socket, Failure> {
    let connect = async {
        loop {
            match try_connect(endpoint).await {
                // What a Unix socket says when its server is slow to accept.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    sleep(Duration::from_millis(1)).await;
                }
                connected => return connected,
            }
        }
    };
    Ok(timeout(PATIENCE, connect).await??)
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
    pub(crate) async fn bind(endpoint: &Endpoint) -> Result<Self, Failure> {
        match endpoint {
            Endpoint::Unix { path, .. } => Ok(Self::Unix(UnixListener::bind(path)?)),
            Endpoint::Tcp { host, port, .. } => {
                Ok(Self::Tcp(TcpListener::bind((host.as_str(), *port)).await?))
            }
            other => Err(format!("no socket can listen on {other}").into()),
        }
    }

    /// With the port that the system has chosen.
    pub(crate) fn endpoint(&self) -> Result<Endpoint, Failure> {
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

    pub(crate) async fn accept(&self) -> Result<Socket, Failure> {
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
