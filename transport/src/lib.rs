//! Byte streams between agents over Unix sockets, TCP, in-process pipes and custom carriers.
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
//! * An [`Endpoint`] is the address of a server. The client calls [`connect`], and the server calls
//!   [`Listener::bind`] and then [`Listener::accept`]. Both sides obtain a [`Connection`], which
//!   reads and writes bytes and has the same type for every carrier.
//! * This crate does not interpret frames or envelopes. The crate neither retries refused
//!   connections nor limits the duration of a connection attempt. Use [`tokio::time::timeout`] to
//!   set a limit.
//! * No tasks are spawned. All work is done in the future that you await.
//! * The Tokio runtime must have I/O and time enabled (`enable_all`).
//!
//! # Unix sockets
//!
//! A socket file is created with mode 0600, so only its owner can connect. Missing parent
//! directories are created with mode 0700. A stale socket file, on which no server listens, is
//! replaced. No other file is ever removed. If several servers start with the same path at the same
//! time, an advisory lock on the directory serializes them: exactly one server succeeds, and the
//! others fail with [`Error::PathInUse`]. Dropping the [`Listener`] removes its socket file.
//!
//! On systems other than Linux, the mode is set by changing the umask of the process during the
//! bind. Files that other threads create at the same time also get at most mode 0600.
//!
//! [`Peer::credentials`] returns the user, group and process of the other side.
//!
//! # TCP
//!
//! A host name can have several addresses. A listener accepts connections on all of them, and a
//! client uses the first address that answers (RFC 8305). Nagle's algorithm is disabled, and
//! keepalive probes are enabled. [`TcpOptions`] configures how the loss of a peer is detected.
//!
//! # TLS
//!
//! The features `tls-ring` and `tls-aws-lc` add the endpoints `tls://host:port`, which are TLS 1.3
//! over TCP, with the cryptography of the crate of that name. If the program has installed a
//! provider for rustls, that provider is used instead; this crate installs none. `TlsServer` and
//! `TlsClient` hold the certificates. Without the features, the endpoints are parsed, but cannot be
//! used ([`Error::MissingFeature`]).
//!
//! A server must complete the [handshake](Connection::handshake) of each accepted connection in the
//! task of that connection. [`Peer::certificate`] returns the certificate of the other side. The
//! end of a connection without the alert `close_notify` is an ordinary end, because the length of
//! each frame shows whether something is missing.
//!
//! # Existing sockets
//!
//! Tokio's streams can be converted into a [`Connection`], and its listeners into a [`Listener`].
//! Use these conversions for sockets that were opened elsewhere, for example by socket activation.
//!
//! # Custom carriers
//!
//! [`Connection::custom`] converts any type that implements `AsyncRead` and `AsyncWrite` into a
//! connection, such as a serial line or a pipe. Implement [`Connector`] for the side
//! that opens connections. Implement [`Accept`] for the side that accepts connections, and pass it
//! to [`Listener::custom`].
//!
//! A carrier that transmits whole messages, such as a WebSocket, would belong to the layer above
//! this crate. Such a carrier sends payloads without the length prefix (PROTOCOL.md, section 1.6),
//! so it would replace the part of the adapter crate that exchanges payloads. If you control both
//! sides, you can already use [`Connection::custom`] to send a byte stream over such a carrier.
//!
//! # Not supported
//!
//! Abstract Unix sockets, versions of TLS before 1.3, and the schemes `ws`, `wss`, `http`, `https`,
//! `h2c`, `h3` and `grpc` are not supported. On Windows, only TCP, TLS and in-process connections
//! are supported.

mod connection;
mod connector;
mod endpoint;
mod error;
#[doc(hidden)]
pub mod internal;
mod listener;
mod memory;
mod peer;
mod peer_certificate;
mod peer_state;
mod probe;
mod tcp;
#[cfg(feature = "tls")]
mod tls;

#[cfg(unix)]
mod directory_lock;
#[cfg(unix)]
mod socket_file;
#[cfg(unix)]
mod unix;

#[cfg(feature = "tls")]
pub use self::tls::{TlsClient, TlsServer};
pub use self::{
    connection::Connection,
    connector::{BoxFuture, Connector, EndpointConnector, connect, connect_with},
    endpoint::{Endpoint, Url, UrlScheme},
    error::{CertificateProblem, EndpointProblem, Error, PathInUse, TlsError},
    listener::{Accept, Listener},
    peer::{Credentials, Peer, PeerAddr},
    peer_certificate::PeerCertificate,
    peer_state::PeerState,
    probe::ProbeResult,
    tcp::TcpOptions,
};
