//! Byte streams between agents: Unix sockets, TCP, in-process pipes, and carriers of your own.
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
//! * An [`Endpoint`] says where, [`connect`] and [`Listener::bind`] go there, and both sides end up
//!   with a [`Connection`]: one concrete type for every transport, which reads and writes bytes.
//! * Nothing here knows about frames or envelopes, retries a refused connection, or has a timeout
//!   of its own for one. Wrap a call in [`tokio::time::timeout`] where it must not take forever.
//! * No task is ever spawned. Work happens in the future that you await.
//! * The Tokio runtime needs both I/O and time enabled (`enable_all`).
//!
//! # Unix sockets
//!
//! A socket is readable and writable by its owner only (mode 0600), from the moment that it exists.
//! Parent directories that are missing are made with mode 0700. A socket file on which nobody
//! answers any more is replaced; nothing else is ever removed. Servers that start at the same time
//! on the same path take turns, through an advisory lock on the directory, so that exactly one wins
//! and the others get [`Error::PathInUse`]. The file goes away with its [`Listener`].
//!
//! On systems other than Linux, the mode is set by changing the process's umask for the
//! instant of the bind. A file that another thread creates in that instant gets no more than
//! mode 0600 either.
//!
//! # Carriers of your own
//!
//! Any `AsyncRead + AsyncWrite` becomes a connection with [`Connection::custom`]: a TLS stream, a
//! serial line, the ends of a pipe. Implement [`Connector`] for the side that opens such
//! connections, and [`Accept`] for the side that takes them, then hand the latter to
//! [`Listener::custom`].
//!
//! A carrier that delivers whole messages, such as a WebSocket, is a layer above this crate: it
//! carries each payload alone, without the length in front (PROTOCOL.md, section 1.6), and so it
//! joins at the adapter's frame link, where payloads are handed over, and not here, where bytes
//! are. When both ends are yours, a byte-stream facade over such a carrier works today through
//! [`Connection::custom`].
//!
//! # Not supported
//!
//! Abstract Unix sockets, TLS out of the box, and the schemes `ws`, `wss`, `http`, `https`, `h2c`,
//! `h3` and `grpc`. Windows has TCP and memory only.

mod connection;
mod connector;
mod endpoint;
mod error;
mod idle;
#[doc(hidden)]
pub mod internal;
mod listener;
mod memory;
mod peer;
mod tcp;

#[cfg(unix)]
mod directory_lock;
#[cfg(unix)]
mod socket_file;
#[cfg(unix)]
mod unix;

pub use connection::Connection;
pub use connector::{BoxFuture, Connector, connect};
pub use endpoint::Endpoint;
pub use error::{EndpointProblem, Error, PathInUse};
pub use idle::Idle;
pub use listener::{Accept, Listener};
pub use peer::{Credentials, Peer};
