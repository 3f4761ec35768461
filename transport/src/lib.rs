//! Byte streams between agents over Unix sockets, TCP, TLS, WebSocket, in-process pipes and custom
//! carriers.
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
//! * No tasks are spawned: all work is done in the future that you await. The one exception is a
//!   WebSocket that was opened by this side. It has a task, which answers pings while nobody reads
//!   and ends with the connection.
//! * The Tokio runtime must have I/O and time enabled (`enable_all`).
//!
//! # Unix sockets
//!
//! A socket file is created with mode 0600, so only its owner can connect, unless a
//! [`SocketAccess`] gives access to others. Missing parent
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
//! # WebSocket
//!
//! The feature `websocket` adds the endpoints `ws://host:port/path`, and together with a feature
//! for TLS the endpoints `wss://host:port/path`. Peers over WebSocket send each payload as one
//! message, without a length ([PROTOCOL 15.1]). A [`Connection`] translates: its reader
//! finds the four bytes of the length before each message, and each frame that is written becomes
//! one binary message. Pings, fragments and close frames stay inside the connection.
//! `WebSocketOptions` sets the maximum size of a message, the interval of pings, and headers of the
//! request.
//!
//! A server completes the handshake of WebSocket like that of TLS, with
//! [`handshake`](Connection::handshake). It accepts any path. A request that is no handshake is
//! answered in HTTP. Extensions, such as compression, and subprotocols are neither offered nor
//! accepted.
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
//! A carrier that transmits whole messages can be converted into a byte stream, as this crate does
//! for WebSocket: add the length ([PROTOCOL 1.1]) to each message that is received, and
//! remove it from each frame that is sent.
//!
//! # Not supported
//!
//! Abstract Unix sockets, versions of TLS before 1.3, extensions of WebSocket, and the schemes
//! `http`, `https`, `h2c`, `h3`, `grpc` and `grpcs` are not supported by this crate. On Windows,
//! Unix sockets are not supported.
//!
//! [PROTOCOL 1.1]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#1-frames
//! [PROTOCOL 15.1]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#15-other-carriers

#![cfg_attr(docsrs, feature(doc_cfg))]

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
mod socket_access;
#[cfg(unix)]
mod socket_file;
#[cfg(unix)]
mod unix;
#[cfg(feature = "websocket")]
mod websocket;

#[cfg(feature = "websocket")]
pub use self::websocket::{WebSocketFault, WebSocketOptions};

#[cfg(feature = "tls")]
pub use self::tls::{TlsClient, TlsServer};
pub use self::{
    connection::Connection,
    connector::{BoxFuture, Connector, EndpointConnector, connect, connect_with},
    endpoint::{Endpoint, Url, UrlScheme},
    error::{CertificateProblem, EndpointProblem, Error, PathInUse, TlsError, WebSocketError},
    listener::{Accept, Listener},
    peer::{Credentials, Peer, PeerAddr},
    peer_certificate::PeerCertificate,
    peer_state::PeerState,
    probe::ProbeResult,
    socket_access::SocketAccess,
    tcp::TcpOptions,
};
