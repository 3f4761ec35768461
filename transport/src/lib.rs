//! Byte streams between agents, over Unix sockets, TCP, in-process pipes and custom carriers.
//!
//! ```
//! use agentwire_transport::{Endpoint, Listener, connect};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let endpoint: Endpoint = "memory://greeter".parse()?;
//! let mut listener = Listener::bind(&endpoint).await?;
//!
//! let mut client = connect(&endpoint).await?;
//! let mut server = listener.accept().await?;
//!
//! client.write_all(b"hello").await?;
//! client.shutdown().await?;
//!
//! let mut heard = String::new();
//! server.read_to_string(&mut heard).await?;
//! assert_eq!(heard, "hello");
//! # Ok(())
//! # }
//! ```
//!
//! # Behaviour
//!
//! * An [`Endpoint`] names a server. [`connect`] and [`Listener::bind`] give both sides a
//!   [`Connection`], one concrete type for every carrier, which reads and writes bytes.
//! * This crate knows nothing of frames or envelopes. It neither retries a refused connection nor
//!   limits how long one takes; wrap the call in [`tokio::time::timeout`] where that matters.
//! * No tasks are spawned. All work happens in the future that you await.
//! * The Tokio runtime needs I/O and time enabled (`enable_all`).
//!
//! # Unix sockets
//!
//! A socket file has mode 0600 from the moment it exists, so only its owner can connect. Missing
//! parent directories are created with mode 0700. A stale socket file, on which no server answers,
//! is replaced; nothing else is ever removed. Servers that start on one path at the same time take
//! turns through an advisory lock on the directory: exactly one succeeds, and the others get
//! [`Error::PathInUse`]. The file is removed with its [`Listener`].
//!
//! Outside Linux, the mode is set by changing the umask of the process for the instant of the bind.
//! A file that another thread creates in that instant gets at most mode 0600 as well.
//!
//! Each side sees the user, group and process of the other as [`Peer::credentials`].
//!
//! # TCP
//!
//! A host name stands for all of its addresses: a listener serves each of them, and a client uses
//! the first one that answers (RFC 8305). Nagle's algorithm is off, and keepalive probes are on.
//! [`TcpOptions`] says how the loss of a peer is noticed.
//!
//! # Sockets of your own
//!
//! Tokio's streams convert into a [`Connection`] and its listeners into a [`Listener`], so a socket
//! that was opened elsewhere, by socket activation for example, works like any other.
//!
//! # Custom carriers
//!
//! [`Connection::custom`] turns any `AsyncRead + AsyncWrite` into a connection: a TLS stream, a
//! serial line, the ends of a pipe. Implement [`Connector`] for the side that opens such
//! connections, and [`Accept`] for the side that accepts them, then pass the latter to
//! [`Listener::custom`].
//!
//! A carrier of whole messages, such as a WebSocket, belongs one layer above this crate. It sends
//! each payload without the length prefix (PROTOCOL.md, section 1.6), so it plugs in where the
//! adapter crate exchanges payloads rather than bytes. If both ends are yours, a byte stream over
//! such a carrier works today through [`Connection::custom`].
//!
//! # Not supported
//!
//! Abstract Unix sockets, built-in TLS, and the schemes `ws`, `wss`, `http`, `https`, `h2c`, `h3`
//! and `grpc`. Windows supports only TCP and memory.

mod connection;
mod connector;
mod endpoint;
mod error;
#[doc(hidden)]
pub mod internal;
mod listener;
mod memory;
mod peer;
mod probe;
mod tcp;

#[cfg(unix)]
mod directory_lock;
#[cfg(unix)]
mod socket_file;
#[cfg(unix)]
mod unix;

pub use self::{
    connection::Connection,
    connector::{BoxFuture, Connector, EndpointConnector, connect, connect_with},
    endpoint::Endpoint,
    error::{EndpointProblem, Error, PathInUse},
    listener::{Accept, Listener},
    peer::{Credentials, Peer, PeerAddr},
    probe::ProbeResult,
    tcp::TcpOptions,
};
