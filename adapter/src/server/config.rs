//! The settings that every server has, and the setters that all builders of servers share.

use std::time::Duration;

use agentwire_codec::FrameLimits;
use agentwire_transport::TcpOptions;

use crate::Error;

/// How a server treats its connections and requests.
#[derive(Debug, Clone)]
pub(crate) struct ServerConfig {
    pub(crate) max_connections: usize,
    pub(crate) max_in_flight: usize,
    pub(crate) frame_limits: FrameLimits,
    /// `None` to keep the options that each listener has.
    pub(crate) tcp: Option<TcpOptions>,
    pub(crate) idle_timeout: Duration,
    pub(crate) frame_timeout: Duration,
    pub(crate) write_timeout: Duration,
    pub(crate) handler_timeout: Option<Duration>,
    pub(crate) shutdown_timeout: Duration,
}

impl ServerConfig {
    /// # Errors
    ///
    /// [`Error::InvalidSetting`] for a setting that is out of range.
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
            handler_timeout: None,
            shutdown_timeout: Duration::from_secs(30),
        }
    }
}

/// Defines the setters that builders of servers share, inside of an `impl` of a builder with the
/// fields `config: ServerConfig` and `endpoints: Endpoints` and a method `serve`. The docs before a
/// name are added to those of its setter.
macro_rules! server_settings {
    (
        $(#[$max_connections:meta])* max_connections;
        $(#[$frame_limits:meta])* frame_limits;
        $(#[$idle_timeout:meta])* idle_timeout;
        $(#[$handler_timeout:meta])* handler_timeout;
        $(#[$shutdown_timeout:meta])* shutdown_timeout;
    ) => {
        /// Serves on an endpoint: `unix:///path`, `tcp://host:port` or `memory://name`. Call it
        /// again for each further endpoint.
        ///
        /// An endpoint that is not valid is reported by [`serve`](Self::serve).
        pub fn endpoint<E>(mut self, endpoint: E) -> Self
        where
            E: TryInto<agentwire_transport::Endpoint>,
            agentwire_transport::Error: From<E::Error>,
        {
            self.endpoints.push(endpoint);
            self
        }

        /// Serves on a listener that is already bound: a
        /// [`transport::Listener`](agentwire_transport::Listener), or a TCP or Unix listener of
        /// tokio or std. Call it again for each further listener.
        ///
        /// A listener that cannot be used is reported by [`serve`](Self::serve).
        ///
        /// # Panics
        ///
        /// For a listener of std, outside of a tokio runtime with I/O enabled.
        pub fn listener<L>(mut self, listener: L) -> Self
        where
            L: TryInto<agentwire_transport::Listener>,
            agentwire_transport::Error: From<L::Error>,
        {
            self.endpoints.push_listener(listener);
            self
        }

        /// Limits the open connections of each endpoint. At the limit, the endpoint accepts no
        /// more; further connections wait in the system's queue. The limit is not shared, so that
        /// an endpoint whose peers fill it up does not close the others.
        ///
        $(#[$max_connections])*
        pub fn max_connections(mut self, connections: usize) -> Self {
            self.config.max_connections = connections;
            self
        }

        /// Limits the requests of one connection that are in flight at the same time. Default: 64.
        /// At the limit no further requests are read from it.
        pub fn max_in_flight_per_connection(mut self, requests: usize) -> Self {
            self.config.max_in_flight = requests;
            self
        }

        /// Limits the size of frames. Default: 10 MiB each way. A larger request is answered with
        /// an error and its connection closed; a larger answer is replaced by an error.
        ///
        $(#[$frame_limits])*
        pub fn frame_limits(mut self, limits: agentwire_codec::FrameLimits) -> Self {
            self.config.frame_limits = limits;
            self
        }

        /// Closes a connection that has had no request in flight for this long. Default: 60 s, as
        /// in Python.
        ///
        $(#[$idle_timeout])*
        pub fn idle_timeout(mut self, timeout: std::time::Duration) -> Self {
            self.config.idle_timeout = timeout;
            self
        }

        /// Closes a connection on which a frame takes longer than this to arrive, from its first
        /// byte. Default: 60 s.
        pub fn frame_timeout(mut self, timeout: std::time::Duration) -> Self {
            self.config.frame_timeout = timeout;
            self
        }

        /// Closes a connection whose peer has read nothing of a waiting answer for this long.
        /// Default: 60 s.
        pub fn write_timeout(mut self, timeout: std::time::Duration) -> Self {
            self.config.write_timeout = timeout;
            self
        }

        /// Sets the options of TCP connections, such as keepalive, for all TCP endpoints and
        /// listeners. Default: the options that a listener already has.
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

        /// Limits how long a graceful stop waits for requests in flight. Default: 30 s. What is
        /// still in flight then is dropped.
        ///
        $(#[$shutdown_timeout])*
        pub fn shutdown_timeout(mut self, timeout: std::time::Duration) -> Self {
            self.config.shutdown_timeout = timeout;
            self
        }

        /// Serves until `shutdown` resolves, then stops gracefully and returns.
        ///
        /// # Errors
        ///
        /// As [`serve`](Self::serve).
        ///
        /// # Panics
        ///
        /// As [`serve`](Self::serve).
        ///
        /// # Cancel safety
        ///
        /// Dropping the future drops what is in flight and closes all connections.
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
