//! The settings of servers, and the setters that all server builders share.

use std::time::Duration;

use agentwire_codec::FrameLimits;
use agentwire_transport::TcpOptions;

use crate::Error;

/// The settings for the connections and requests of a server.
#[derive(Debug, Clone)]
pub(crate) struct ServerConfig {
    pub(crate) max_connections: usize,
    pub(crate) max_in_flight: usize,
    pub(crate) frame_limits: FrameLimits,
    /// The TCP options, or `None` to keep the options of each listener.
    pub(crate) tcp: Option<TcpOptions>,
    pub(crate) idle_timeout: Duration,
    pub(crate) frame_timeout: Duration,
    pub(crate) write_timeout: Duration,
    /// Whether to serve a peer that has closed its sending half where a close looks the same.
    pub(crate) half_close: bool,
    pub(crate) handler_timeout: Option<Duration>,
    pub(crate) shutdown_timeout: Duration,
}

impl ServerConfig {
    /// # Errors
    ///
    /// Returns [`Error::InvalidSetting`] if a setting is out of range.
    pub(crate) fn check(&self) -> Result<(), Error> {
        for (setting, number) in [
            ("max_connections", self.max_connections),
            ("max_in_flight_per_connection", self.max_in_flight),
        ] {
            if number == 0 {
                let problem = "must be at least 1";
                return Err(Error::InvalidSetting { setting, problem });
            }
        }
        Ok(())
    }
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            max_connections: 1024,
            max_in_flight: 64,
            frame_limits: FrameLimits::default(),
            tcp: None,
            idle_timeout: Duration::from_secs(60),
            frame_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(60),
            half_close: false,
            handler_timeout: None,
            shutdown_timeout: Duration::from_secs(30),
        }
    }
}

/// Defines the setters that all server builders share. Use this macro inside the `impl` of a
/// builder with the fields `config: ServerConfig` and `endpoints: Endpoints` and the method
/// `serve`. The docs before a name are appended to the docs of its setter.
macro_rules! server_settings {
    (
        $(#[$max_connections:meta])* max_connections;
        $(#[$frame_limits:meta])* frame_limits;
        $(#[$idle_timeout:meta])* idle_timeout;
        $(#[$handler_timeout:meta])* handler_timeout;
        $(#[$shutdown_timeout:meta])* shutdown_timeout;
    ) => {
        /// Adds an endpoint to serve, such as `unix:///path`, `tcp://host:port` or `memory://name`.
        /// Call this method once for each endpoint.
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

        /// Adds a listener that is already bound, such as a
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

        /// Sets the largest number of open connections of each endpoint. At the limit, further
        /// connections wait in the accept queue of the system. Each endpoint has its own limit, so
        /// that peers of one endpoint cannot make the other endpoints unavailable.
        ///
        $(#[$max_connections])*
        pub fn max_connections(mut self, connections: usize) -> Self {
            self.config.max_connections = connections;
            self
        }

        /// Sets the largest number of requests in flight on one connection. The default is 64. At
        /// the limit, no further requests are read from the connection.
        pub fn max_in_flight_per_connection(mut self, requests: usize) -> Self {
            self.config.max_in_flight = requests;
            self
        }

        /// Sets the largest sizes of sent and received frames. The default is 10 MiB for both. A
        /// larger request is answered with an error, and its connection is closed. A larger answer
        /// is replaced by an error.
        ///
        $(#[$frame_limits])*
        pub fn frame_limits(mut self, limits: agentwire_codec::FrameLimits) -> Self {
            self.config.frame_limits = limits;
            self
        }

        /// Sets how long a connection may have no request in flight before it is closed. The
        /// default is 60 s, as in Python.
        ///
        $(#[$idle_timeout])*
        pub fn idle_timeout(mut self, timeout: std::time::Duration) -> Self {
            self.config.idle_timeout = timeout;
            self
        }

        /// Sets how long a frame may take to arrive after its first byte before the connection is
        /// closed. The default is 60 s.
        pub fn frame_timeout(mut self, timeout: std::time::Duration) -> Self {
            self.config.frame_timeout = timeout;
            self
        }

        /// Sets how long a peer may read nothing while an answer is queued before the connection is
        /// closed. The default is 60 s.
        pub fn write_timeout(mut self, timeout: std::time::Duration) -> Self {
            self.config.write_timeout = timeout;
            self
        }

        /// Sets whether a peer that shuts down its sending half still gets all of its answers over
        /// TCP and custom carriers. Default: no.
        ///
        /// Over TCP, a peer that shuts down its sending half looks like a peer that has left. By
        /// default the server therefore sends the answers that are ready and drops the requests
        /// that are in flight. With this option it finishes the requests, also for a peer that has
        /// left, whose connection it closes when it sends the first answer. Unix sockets on Linux
        /// and memory connections show the difference, so their peers always get their answers.
        pub fn half_close(mut self, serve: bool) -> Self {
            self.config.half_close = serve;
            self
        }

        /// Sets the options of TCP connections, such as keepalive, for all TCP endpoints and
        /// listeners. By default each listener keeps its own options.
        pub fn tcp_options(mut self, options: agentwire_transport::TcpOptions) -> Self {
            self.config.tcp = Some(options);
            self
        }

        $(#[$handler_timeout])*
        pub fn handler_timeout(mut self, timeout: std::time::Duration) -> Self {
            let timeout = timeout.min(agentwire_transport::internal::MAX_TIMEOUT);
            self.config.handler_timeout = Some(timeout);
            self
        }

        /// Sets how long a graceful stop waits for requests in flight. The default is 30 s.
        /// Requests that are still in flight after the timeout are dropped.
        ///
        $(#[$shutdown_timeout])*
        pub fn shutdown_timeout(mut self, timeout: std::time::Duration) -> Self {
            self.config.shutdown_timeout = timeout;
            self
        }

        /// Serves until `shutdown` completes, then stops gracefully and returns.
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
