//! The settings of servers, and the setters shared by all server builders.

use std::time::Duration;

use agentwire_codec::FrameLimits;
use agentwire_transport::{SocketAccess, TcpOptions};

use super::{
    outcomes::{OutcomeLimits, SharedOutcomes},
    peer_key::PeerKey,
};
use crate::{Error, observer::Observers};

/// The settings for the connections and requests of a server.
#[derive(Debug, Clone)]
pub(crate) struct ServerConfig {
    pub(crate) max_connections: usize,
    pub(crate) max_in_flight: usize,
    /// The number of queued bytes from which the peer counts as slow. The session then reads no
    /// requests and queues no replies until the peer has read some bytes.
    pub(crate) max_queued: usize,
    pub(crate) frame_limits: FrameLimits,
    pub(crate) memory_budget: usize,
    /// The maximum number of connections of one peer at each endpoint, or `None` for the default.
    pub(crate) max_connections_per_peer: Option<usize>,
    /// The TCP options, or `None` to keep the options of each listener.
    pub(crate) tcp: Option<TcpOptions>,
    /// Who may connect to Unix sockets.
    pub(crate) socket_access: SocketAccess,
    /// The certificates for all TLS endpoints.
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<agentwire_transport::TlsServer>,
    #[cfg(feature = "http")]
    pub(crate) http: super::HttpOptions,
    #[cfg(feature = "websocket")]
    pub(crate) websocket: agentwire_transport::WebSocketOptions,
    /// The maximum size of the messages of gRPC, received and sent.
    #[cfg(feature = "grpc")]
    pub(crate) grpc_max_message: usize,
    pub(crate) handshake_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) frame_timeout: Duration,
    pub(crate) write_timeout: Duration,
    /// Whether to serve a peer that has shut down its sending half, even if the peer may have
    /// disconnected.
    pub(crate) half_close: bool,
    pub(crate) handler_timeout: Option<Duration>,
    pub(crate) shutdown_timeout: Duration,
    pub(crate) observers: Observers,
    /// The outcomes that are kept, or `None` to ignore idempotency keys.
    pub(crate) outcomes: Option<OutcomeLimits>,
    /// Where outcomes are shared with other servers.
    pub(crate) shared_outcomes: SharedOutcomes,
    /// Who may do what.
    #[cfg(feature = "auth")]
    pub(crate) security: Option<crate::auth::Security>,
}

impl ServerConfig {
    /// Returns the maximum number of connections that `peer` may have at one endpoint.
    pub(crate) fn connection_share(&self, peer: &PeerKey) -> usize {
        match self.max_connections_per_peer {
            Some(share) => share,
            None if peer.is_own() => self.max_connections,
            None => (self.max_connections / 4).max(1),
        }
    }

    /// Returns the options of the WebSocket connections of one endpoint.
    #[cfg(feature = "websocket")]
    pub(crate) fn websocket_options(&self) -> agentwire_transport::WebSocketOptions {
        let options = self.websocket.clone();
        let options = options.max_message(self.frame_limits.max_receive());
        options.message_timeout(self.frame_timeout)
    }

    /// # Errors
    ///
    /// Returns [`Error::InvalidSetting`] if a setting is out of range.
    pub(crate) fn check(&self) -> Result<(), Error> {
        for (setting, number) in [
            ("max_connections", self.max_connections),
            (
                "max_connections_per_peer",
                self.max_connections_per_peer
                    .unwrap_or(self.max_connections),
            ),
            ("max_in_flight_per_connection", self.max_in_flight),
        ] {
            if number == 0 {
                let problem = "must be at least 1";
                return Err(Error::InvalidSetting { setting, problem });
            }
        }
        if self.memory_budget < MIN_MEMORY_BUDGET {
            return Err(Error::InvalidSetting {
                setting: "memory_budget",
                problem: "must be at least 1 MiB",
            });
        }
        Ok(())
    }
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            max_connections: 1024,
            max_connections_per_peer: None,
            max_in_flight: 64,
            max_queued: 64 * 1024,
            frame_limits: FrameLimits::default(),
            memory_budget: 256 * 1024 * 1024,
            tcp: None,
            socket_access: SocketAccess::new(),
            #[cfg(feature = "tls")]
            tls: None,
            #[cfg(feature = "http")]
            http: super::HttpOptions::new(),
            #[cfg(feature = "websocket")]
            websocket: agentwire_transport::WebSocketOptions::new(),
            #[cfg(feature = "grpc")]
            grpc_max_message: 4 * 1024 * 1024,
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(600),
            frame_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(60),
            half_close: false,
            handler_timeout: None,
            shutdown_timeout: Duration::from_secs(30),
            observers: Observers::default(),
            outcomes: None,
            shared_outcomes: SharedOutcomes::default(),
            #[cfg(feature = "auth")]
            security: None,
        }
    }
}

/// Defines the setters shared by all server builders. The builder must have the fields `config:
/// ServerConfig` and `endpoints: Endpoints` and the method `serve`. Use this macro in its `impl`
/// block. The docs before each name are appended to the docs of the setter.
macro_rules! server_settings {
    (
        $(#[$max_connections:meta])* max_connections;
        $(#[$frame_limits:meta])* frame_limits;
        $(#[$idle_timeout:meta])* idle_timeout;
        $(#[$handler_timeout:meta])* handler_timeout;
        $(#[$shutdown_timeout:meta])* shutdown_timeout;
    ) => {
        /// Adds an endpoint to serve, such as `unix:///path`, `tcp://host:port` or
        /// `https://host:port`. Call this method once for each endpoint.
        ///
        /// If the endpoint is not valid, [`serve`](Self::serve) returns an error.
        pub fn endpoint<E>(mut self, endpoint: E) -> Self
        where
            E: TryInto<agentwire_transport::Endpoint>,
            agentwire_transport::Error: From<E::Error>,
        {
            self.endpoints.push(endpoint);
            self
        }

        /// Adds a bound listener. The listener may be a
        /// [`transport::Listener`](agentwire_transport::Listener), or a TCP or Unix listener of
        /// tokio or std. Call this method once for each listener.
        ///
        /// If the listener cannot be used, [`serve`](Self::serve) returns an error.
        ///
        /// # Panics
        ///
        /// Panics if a std listener is added outside a tokio runtime with I/O enabled.
        pub fn listener<L>(mut self, listener: L) -> Self
        where
            L: TryInto<agentwire_transport::Listener>,
            agentwire_transport::Error: From<L::Error>,
        {
            self.endpoints.push_listener(listener);
            self
        }

        /// Sets the maximum number of open connections at each endpoint. At the limit, a new
        /// connection replaces the connection that has gone longest without an accepted request. If
        /// all connections have requests in flight or unwritten answers, new connections wait. The
        /// limit applies to each endpoint separately, so that the peers of one endpoint cannot make
        /// other endpoints unavailable.
        ///
        $(#[$max_connections])*
        pub fn max_connections(mut self, connections: usize) -> Self {
            self.config.max_connections = connections;
            self
        }

        /// Sets the maximum number of open connections of one peer at each endpoint. A peer is a
        /// user behind a Unix socket, an IPv4 address, or an IPv6 network of 64 bits.
        ///
        /// By default, the user of this process, loopback addresses and peers in this process may
        /// have all connections, and every other peer may have a quarter of them. At the limit, a
        /// new connection of the peer replaces the connection of that peer that has gone longest
        /// without an accepted request. If all of them have requests in flight, the new connection
        /// is closed.
        pub fn max_connections_per_peer(mut self, connections: usize) -> Self {
            self.config.max_connections_per_peer = Some(connections);
            self
        }

        /// Sets the maximum number of requests in flight on one connection. The default is 64. When
        /// the limit is reached, the server reads no more requests from the connection.
        pub fn max_in_flight_per_connection(mut self, requests: usize) -> Self {
            self.config.max_in_flight = requests;
            self
        }

        /// Sets the maximum sizes of sent and received frames. Both default to 10 MiB. If a request
        /// is too large, the server answers with an error and closes the connection. An answer that
        /// is too large is replaced by an error.
        ///
        $(#[$frame_limits])*
        pub fn frame_limits(mut self, limits: agentwire_codec::FrameLimits) -> Self {
            self.config.frame_limits = limits;
            self
        }

        /// Sets the memory that all requests and answers of the server may use together, in bytes.
        /// The default is 256 MiB. The minimum is 1 MiB.
        ///
        /// A request counts from the header of its frame until its answer has been sent, with the
        /// memory of its decoded values. One connection may use half of the budget. When the budget
        /// is exhausted, large requests wait in order for at most the
        /// [frame timeout](Self::frame_timeout), and are then refused with `AGENT_UNAVAILABLE`.
        /// Each connection always has an allowance of 64 KiB, or its share of a quarter of the
        /// budget if that is less, so small requests do not wait.
        ///
        /// A frame may have at most a quarter of the budget, or the frame limit if that is less.
        pub fn memory_budget(mut self, bytes: usize) -> Self {
            self.config.memory_budget = bytes;
            #[cfg(feature = "websocket")]
            {
                let options = self.config.websocket;
                self.config.websocket = options.fragment_budget((bytes / 8).min(32 << 20));
            }
            self
        }

        /// Sets the time within which the TLS or WebSocket handshake of a new connection must
        /// finish, and within which the header of an HTTP request must arrive after its first byte.
        /// The default is 10 s. When the timeout expires, the connection is closed. During its
        /// handshake, a connection counts towards [`max_connections`](Self::max_connections).
        pub fn handshake_timeout(mut self, timeout: std::time::Duration) -> Self {
            self.config.handshake_timeout = timeout;
            self
        }

        /// Sets the time after which a connection without requests in flight is closed. The default
        /// is 10 minutes. Refused requests do not restart this time.
        ///
        $(#[$idle_timeout])*
        pub fn idle_timeout(mut self, timeout: std::time::Duration) -> Self {
            self.config.idle_timeout = timeout;
            self
        }

        /// Sets the time within which a frame must arrive after its first byte. The default is
        /// 60 s. When the timeout expires, the connection is closed. The timeout restarts each time
        /// that the frame has grown by 16 KiB for each second of the timeout, so that a large frame
        /// may take longer.
        pub fn frame_timeout(mut self, timeout: std::time::Duration) -> Self {
            self.config.frame_timeout = timeout;
            self
        }

        /// Sets the time after which a connection is closed if the peer reads less than 1 KiB per
        /// second of its queued answers. The default is 60 s.
        pub fn write_timeout(mut self, timeout: std::time::Duration) -> Self {
            self.config.write_timeout = timeout;
            self
        }

        /// Sets whether a TCP peer that shuts down its sending half still receives all of its
        /// answers. The default is `false`. The setting also applies to custom transports.
        ///
        /// Over TCP, a peer that shuts down its sending half cannot be distinguished from a peer
        /// that has disconnected. By default, the server therefore sends the answers that are ready
        /// and drops the requests in flight. If `half_close` is `true`, the server finishes the
        /// requests. A disconnected peer is then detected only when the server sends the first
        /// answer. Unix sockets on Linux and memory connections can distinguish the two cases, so
        /// their peers always receive all answers.
        pub fn half_close(mut self, serve: bool) -> Self {
            self.config.half_close = serve;
            self
        }

        /// Sets the options of TCP connections, such as keepalive, for all TCP endpoints and
        /// listeners. By default, each listener keeps its own options.
        pub fn tcp_options(mut self, options: agentwire_transport::TcpOptions) -> Self {
            self.config.tcp = Some(options);
            self
        }

        /// Sets the options of WebSocket connections, such as the interval of pings. The frame
        /// limits determine the maximum size of a message.
        #[cfg(feature = "websocket")]
        pub fn websocket_options(mut self, options: agentwire_transport::WebSocketOptions) -> Self {
            self.config.websocket = options;
            self
        }

        /// Sets the certificates for all `tls://` and `wss://` endpoints. Listeners that are passed
        /// in have their own.
        ///
        /// The server reads the files again when they change, about every two seconds, and uses
        /// them for new connections. Files that cannot be used are reported at the level warn, and
        /// the earlier certificates remain in use. A connection is closed when the certificate of
        /// its peer expires; requests in flight are answered first, within the
        /// [shutdown timeout](Self::shutdown_timeout).
        ///
        /// If no endpoint uses TLS, [`serve`](Self::serve) returns an error, because the
        /// server would not be encrypted.
        #[cfg(feature = "tls")]
        pub fn tls(mut self, tls: agentwire_transport::TlsServer) -> Self {
            self.config.tls = Some(tls);
            self
        }

        /// Sets the mode of the files of Unix sockets, such as `0o660`. By default, only the user
        /// of the server can connect. A user with write permission for the file can connect.
        ///
        /// To tell the users apart that may connect, authenticate them with
        /// [`Users`](crate::auth::Users), with the feature `auth`.
        pub fn socket_mode(mut self, mode: u32) -> Self {
            self.config.socket_access = self.config.socket_access.mode(mode);
            self
        }

        /// Sets the group of the files of Unix sockets by its id. The mode is then 0660, unless
        /// [`socket_mode`](Self::socket_mode) is set.
        pub fn socket_group(mut self, group: u32) -> Self {
            self.config.socket_access = self.config.socket_access.group(group);
            self
        }

        /// Sets who may send which requests, and what is recorded. By default, everyone who can
        /// connect may send any request.
        #[cfg(feature = "auth")]
        pub fn security(mut self, security: crate::auth::Security) -> Self {
            self.config.security = Some(security);
            self
        }

        /// Adds an observer, which learns what the server does. By default, there is none. Call
        /// this method once for each observer.
        pub fn observer(
            mut self,
            observer: std::sync::Arc<dyn crate::observer::Observer>,
        ) -> Self {
            self.config.observers.add(observer);
            self
        }

        /// Sets the maximum size of a message of gRPC, received and sent. The default is 4 MiB,
        /// which is also the default of other implementations. A larger request ends with the
        /// status `RESOURCE_EXHAUSTED`, and a larger answer is replaced by an `INTERNAL_ERROR`.
        #[cfg(feature = "grpc")]
        #[cfg_attr(docsrs, doc(cfg(feature = "grpc")))]
        pub fn grpc_max_message(mut self, bytes: usize) -> Self {
            self.config.grpc_max_message = bytes;
            self
        }

        /// Sets the options of HTTP endpoints: which web pages may call the server.
        #[cfg(feature = "http")]
        pub fn http_options(mut self, options: crate::http::HttpOptions) -> Self {
            self.config.http = options;
            self
        }

        $(#[$handler_timeout])*
        pub fn handler_timeout(mut self, timeout: std::time::Duration) -> Self {
            let timeout = timeout.min(agentwire_transport::internal::MAX_TIMEOUT);
            self.config.handler_timeout = Some(timeout);
            self
        }

        /// Sets how long a graceful shutdown waits for requests in flight. The default is 30 s.
        /// When the timeout expires, the remaining requests are dropped.
        ///
        $(#[$shutdown_timeout])*
        pub fn shutdown_timeout(mut self, timeout: std::time::Duration) -> Self {
            self.config.shutdown_timeout = timeout;
            self
        }

        /// Serves until `shutdown` completes, and then stops the server gracefully.
        ///
        /// # Errors
        ///
        /// Returns the same errors as [`serve`](Self::serve).
        ///
        /// # Panics
        ///
        /// Panics under the same conditions as [`serve`](Self::serve).
        ///
        /// # Cancel safety
        ///
        /// If the future is dropped, all requests in flight are dropped and all connections are
        /// closed.
        pub async fn serve_until(
            self,
            shutdown: impl std::future::Future,
        ) -> Result<(), crate::Error> {
            let server = self.serve().await?;
            shutdown.await;
            server.stop().await;
            Ok(())
        }
    };
}

pub(crate) use server_settings;

/// With less memory, a server could not receive frames of the usual sizes.
const MIN_MEMORY_BUDGET: usize = 1024 * 1024;
