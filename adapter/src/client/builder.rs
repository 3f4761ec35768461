//! The builder of a client: [`RemoteAgentBuilder`].

use std::{fmt, sync::Arc, time::Duration};

use agentwire_codec::{Format, FrameLimits};
use agentwire_registry::{Query, Registry, SharedRegistry, backend::QueryExt, check_name};
use agentwire_transport::{
    Connector, Endpoint, Error as TransportError, TcpOptions, internal::MAX_TIMEOUT,
};

use super::{
    channel::Channel,
    config::Config,
    connect::BuiltInConnector,
    credentials::Credentials,
    retry_policy::RetryPolicy,
    router::{Balance, Destination, Discovery},
    shared::Client,
};
use crate::{Error, PeerKind, connection::Bodies, observer::Observer};

/// A builder for a [`RemoteAgent`](crate::RemoteAgent).
///
/// [`RemoteAgent::builder`] returns a builder for an agent at a fixed endpoint.
/// [`RemoteAgent::discover`] returns a builder for an agent whose instances are listed in a
/// registry.
///
/// The type parameter `D` is the destination of the calls: [`FixedEndpoint`] or [`Discovered`].
/// Some settings are available for only one kind of destination.
///
/// ```
/// use std::time::Duration;
///
/// use agentwire::{Format, RemoteAgent, RetryPolicy};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), agentwire::Error> {
/// let weather = RemoteAgent::builder("tcp://10.0.0.7:8080")
///     .name("weather")
///     .timeout(Duration::from_secs(5))
///     .retry(RetryPolicy::new().resend(2)) // asking twice does no harm
///     .format(Format::MessagePack) // the server is a Rust program
///     .max_in_flight_per_connection(64)
///     .build()?;
/// # Ok(())
/// # }
/// ```
///
/// [`RemoteAgent::builder`]: crate::RemoteAgent::builder
/// [`RemoteAgent::discover`]: crate::RemoteAgent::discover
#[derive(Debug)]
#[must_use]
pub struct RemoteAgentBuilder<D = FixedEndpoint> {
    destination: D,
    config: Config,
}

/// The destination of a client that calls one endpoint: see [`RemoteAgentBuilder`].
pub struct FixedEndpoint {
    endpoint: Result<Endpoint, TransportError>,
    /// A custom connector that replaces the transport of the endpoint, if one was set.
    connector: Option<Arc<dyn Connector>>,
}

/// The destination of a client that calls the instances listed in a registry: see
/// [`RemoteAgentBuilder`].
pub struct Discovered {
    registry: SharedRegistry,
    query: Query,
    balance: Balance,
}

impl<D> RemoteAgentBuilder<D> {
    /// Sets the name by which the agent is called.
    ///
    /// By default, no name is sent. Every server with a single agent accepts a call without a name.
    /// For a [discovered](crate::RemoteAgent::discover) agent, the default is the name in the
    /// query.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.config.name = name.into();
        self
    }

    /// Sets the timeout of a call. The default is 30 s.
    ///
    /// The timeout includes the time for queueing and connecting. For a stream, the timeout applies
    /// to each chunk separately.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.config.timeout = timeout;
        self
    }

    /// Sets the timeout for connecting. The default is 5 s for a fixed endpoint, and 3 s for each
    /// instance of a [discovered](crate::RemoteAgent::discover) agent.
    ///
    /// For a fixed endpoint, the connect timeout covers all attempts that the
    /// [`retry`](Self::retry) policy allows. If the server has not started, a call waits for the
    /// server until the connect timeout expires. The client logs a warning after it has waited for
    /// one second.
    ///
    /// For a discovered agent, the connect timeout covers one attempt, and the next attempt tries
    /// another instance. Connecting to one instance never uses more than a third of the call's
    /// remaining time.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.config.connect_timeout = timeout.min(MAX_TIMEOUT);
        self
    }

    /// Sets the maximum number of open connections to each endpoint. The default is 64.
    ///
    /// Each call and each stream uses its own connection, except over HTTP/2 and gRPC, where calls
    /// and streams share connections. When the limit is reached, further calls wait in order until
    /// a connection is free or their timeouts expire.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.config.max_connections = connections;
        self
    }

    /// Sets how many calls may share one connection. The default is 1, so no connection is shared,
    /// and 64 over HTTP/2 and gRPC.
    ///
    /// Over HTTP/2 and gRPC, calls and streams use as few connections as this setting allows.
    /// HTTP/1.1 does not share connections. The following applies to all other carriers.
    ///
    /// Calls share connections only once [`max_connections`](Self::max_connections) are open. Use
    /// this setting only with servers that answer each request as soon as it is processed, as
    /// the servers of this library do. The Python and Go servers answer requests in order, so a
    /// slow call delays all later calls on its connection. Streams never share a connection, and
    /// may open up to `max_connections` additional connections.
    ///
    /// Cancelling a call does not close a shared connection. The server continues to process the
    /// cancelled request, and the client discards the answer.
    ///
    /// If a call times out and its connection has received no answer in the meantime, the client
    /// replaces the connection. The old connection stays open until its calls have ended, so the
    /// number of open connections may exceed `max_connections` for a short time.
    pub fn max_in_flight_per_connection(mut self, calls: usize) -> Self {
        self.config.max_in_flight = Some(calls);
        self
    }

    /// Sets how long an idle connection is kept open. The default is 50 s, because Python's
    /// servers close idle connections after 60 s. With a timeout of zero, each connection is used
    /// only once.
    ///
    /// If a server closes an idle connection earlier, the client lowers the timeout for that server
    /// for ten minutes.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.config.idle_timeout = timeout.min(MAX_TIMEOUT);
        self
    }

    /// Sets the retry policy. By default, only connecting is retried.
    /// [`CallOptions::retry`](crate::CallOptions::retry) sets the policy of a single call.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.config.retry = policy;
        self
    }

    /// Sets the maximum sizes of sent and received frames. Both default to 10 MiB. If a request is
    /// too large, the call fails before anything is sent. If an answer is too large, the client
    /// closes the connection.
    pub fn frame_limits(mut self, limits: FrameLimits) -> Self {
        self.config.frame_limits = limits;
        #[cfg(feature = "websocket")]
        {
            let options = self.config.connect.websocket;
            self.config.connect.websocket = options.max_message(limits.max_receive());
        }
        self
    }

    /// Sets the options of TCP connections, such as keepalive. The options do not apply to a custom
    /// [`connector`](RemoteAgentBuilder::connector).
    pub fn tcp_options(mut self, options: TcpOptions) -> Self {
        self.config.connect.tcp = options;
        self
    }

    /// Sets the options of WebSocket connections, such as the interval of pings. The
    /// [frame limits](Self::frame_limits) determine the maximum size of a message. The options do
    /// not apply to a custom [`connector`](RemoteAgentBuilder::connector).
    #[cfg(feature = "websocket")]
    pub fn websocket_options(mut self, options: agentwire_transport::WebSocketOptions) -> Self {
        let max_message = self.config.frame_limits.max_receive();
        self.config.connect.websocket = options.max_message(max_message);
        self
    }

    /// Sets the certificates for `tls://` and `wss://` endpoints. By default, the certification
    /// authorities of the system are trusted, and the client has no certificate. The certificates
    /// do not apply to a custom [`connector`](RemoteAgentBuilder::connector).
    ///
    /// The client reads the files again when they have changed, at most every two seconds, before
    /// it opens a connection. Files that cannot be used are reported at the level warn, and the
    /// earlier certificates remain in use.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: agentwire_transport::TlsClient) -> Self {
        self.config.connect.tls = super::connect::tls::Certificates::new(tls);
        self
    }

    /// Sets whether endpoints without encryption are refused. The default is `false`.
    ///
    /// Use this setting for a [discovered](crate::RemoteAgent::discover) agent, because otherwise
    /// the registry decides whether calls are encrypted. An instance at a `tcp://` endpoint is
    /// never called, and the error says why. Unix sockets and memory endpoints are not refused,
    /// because their bytes do not leave the machine. The setting does not apply to a custom
    /// [`connector`](RemoteAgentBuilder::connector).
    pub fn require_tls(mut self, require: bool) -> Self {
        self.config.connect.require_tls = require;
        self
    }

    /// Sets the format of requests. The default is JSON, which every server can decode. Rust
    /// servers answer in the format of the request.
    pub fn format(mut self, format: Format) -> Self {
        self.config.format = format;
        self
    }

    /// Sets the kind of the servers that the client calls. The default is [`PeerKind::Any`].
    ///
    /// With [`PeerKind::Go`], a call whose message has another content than text fails with
    /// [`Error::UnreadableByPeer`] before anything is sent, because a Go server ends when it reads
    /// such a message. The target of a [`Proxy`](crate::Proxy) is protected in the same way, and
    /// messages without metadata or a timestamp are completed. Go servers read only JSON, so
    /// another [`format`](Self::format) is an invalid setting.
    pub fn peer(mut self, peer: PeerKind) -> Self {
        self.config.peer = peer;
        self
    }

    /// Sets the credentials that are added to each request, for servers that authenticate their
    /// callers. By default, none are sent. Credentials in the metadata of a message are replaced.
    ///
    /// Over a network, credentials are only sent over an encrypted connection, unless
    /// [`allow_plaintext_credentials`](Self::allow_plaintext_credentials) is set. Otherwise
    /// [`build`](RemoteAgentBuilder::build) fails, and an instance from a registry is not called.
    /// Loopback addresses, Unix sockets and memory endpoints are exempt.
    pub fn credentials(mut self, credentials: impl Into<Credentials>) -> Self {
        self.config.credentials = Some(credentials.into());
        self
    }

    /// Sets whether [credentials](Self::credentials) may be sent over unencrypted connections to
    /// other machines. The default is `false`.
    pub fn allow_plaintext_credentials(mut self, allow: bool) -> Self {
        self.config.allow_plaintext_credentials = allow;
        self
    }

    /// Sets the user that must run the server behind a Unix socket. By default, any user may. A
    /// connection to a server of another user fails.
    ///
    /// In a directory to which other users can write, another user may replace the socket. Clients
    /// with credentials or with this setting log a warning about such a directory. The setting does
    /// not apply to a custom [`connector`](RemoteAgentBuilder::connector).
    pub fn peer_uid(mut self, uid: u32) -> Self {
        self.config.peer_uid = Some(uid);
        self
    }

    /// Adds an observer, which learns what the client does. By default, there is none. Call this
    /// method once for each observer.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.config.observers.add(observer);
        self
    }

    /// Sets whether requests contain a trace context as `trace_context` in their metadata. The
    /// default is `false`, because the context changes the bytes of messages.
    ///
    /// A call that an agent makes while it processes a request carries the context of that request
    /// on. With the feature `opentelemetry`, the context is that of the span of the call, if spans
    /// are exported.
    pub fn send_trace_context(mut self, send: bool) -> Self {
        self.config.sends_trace_context = send;
        self
    }

    /// Sets whether requests contain the time that is left for them, so that a server stops
    /// processing a request when its caller has stopped waiting. The default is `false`. Servers in
    /// other languages ignore the deadline.
    ///
    /// The deadline of a stream is its [total timeout](crate::CallOptions::total_timeout). A stream
    /// without a total timeout has no deadline.
    pub fn send_deadlines(mut self, send: bool) -> Self {
        self.config.sends_deadlines = send;
        self
    }

    /// Sets whether each call has a random idempotency key, with which a server that
    /// [keeps outcomes](crate::LocalAgentBuilder::keep_outcomes) processes the request once, even
    /// if [`RetryPolicy::resend`] sends it several times. The default is `false`.
    ///
    /// Servers that do not keep outcomes ignore the key, and may then process a request that is
    /// sent again twice. A stream is sent again only before its first chunk has arrived.
    pub fn idempotent(mut self, idempotent: bool) -> Self {
        self.config.is_idempotent = idempotent;
        self
    }

    /// Lowers the timeout of a call to `timeout` if the current timeout is longer.
    pub(crate) fn timeout_at_most(mut self, timeout: Duration) -> Self {
        self.config.timeout = self.config.timeout.min(timeout);
        self
    }

    fn check(&self) -> Result<(), Error> {
        for (setting, number) in [
            ("max_connections", self.config.max_connections),
            (
                "max_in_flight_per_connection",
                self.config.calls_per_connection(),
            ),
        ] {
            if number == 0 {
                let problem = "must be at least 1";
                return Err(Error::InvalidSetting { setting, problem });
            }
        }
        if self.config.peer == PeerKind::Go && self.config.format != Format::Json {
            return Err(Error::InvalidSetting {
                setting: "format",
                problem: "must be JSON for Go servers",
            });
        }
        #[cfg(feature = "tls")]
        self.config
            .connect
            .tls
            .tls()
            .check_name()
            .map_err(Error::InvalidEndpoint)?;
        Ok(())
    }
}

impl RemoteAgentBuilder<FixedEndpoint> {
    pub(crate) fn new<E>(endpoint: E) -> Self
    where
        E: TryInto<Endpoint>,
        TransportError: From<E::Error>,
    {
        let endpoint = endpoint.try_into().map_err(TransportError::from);
        let connector = None;
        Self {
            destination: FixedEndpoint {
                endpoint,
                connector,
            },
            config: Config::new(String::new(), CONNECT_TIMEOUT),
        }
    }

    /// Sets a custom connector, which replaces the transport of the endpoint.
    pub fn connector(mut self, connector: impl Connector) -> Self {
        self.destination.connector = Some(Arc::new(connector));
        self
    }

    /// Checks the settings.
    pub(super) fn into_parts(self) -> Result<(Arc<Client>, Destination), Error> {
        let (config, connector) = self.into_connector()?;
        let client = Arc::new(Client::new(config));
        let channel = Channel::new(&client, connector);
        Ok((client, Destination::Fixed(channel)))
    }

    /// Checks the settings of a client that forwards requests. Returns one destination for calls
    /// and one for streams. Each destination has its own connections, so that streams do not use up
    /// the connections of calls.
    pub(super) fn into_forwarding_parts(
        mut self,
    ) -> Result<(Arc<Client>, [Destination; 2]), Error> {
        self.config.bodies = Bodies::Raw;
        // Only the original sender can decide whether its request may be sent again.
        self.config.retry = RetryPolicy::never();
        let (config, connector) = self.into_connector()?;
        let client = Arc::new(Client::new(config));
        let channels = [Arc::clone(&connector), connector]
            .map(|connector| Destination::Fixed(Channel::new(&client, connector)));
        Ok((client, channels))
    }

    /// Checks the settings and returns them together with the connector.
    fn into_connector(self) -> Result<(Config, Arc<dyn Connector>), Error> {
        self.check()?;
        let FixedEndpoint {
            endpoint,
            connector,
        } = self.destination;
        let connector = match connector {
            Some(connector) => connector,
            None => {
                let endpoint = endpoint.map_err(Error::InvalidEndpoint)?;
                let mut options = self.config.connect.clone();
                options.demands = self.config.demands();
                options.check(&endpoint).map_err(Error::InvalidEndpoint)?;
                options.demands.check_setting(&endpoint)?;
                Arc::new(BuiltInConnector { endpoint, options })
            }
        };
        Ok((self.config, connector))
    }
}

impl RemoteAgentBuilder<Discovered> {
    pub(super) fn discover(registry: impl Registry, query: Query) -> Self {
        let name = query.required_name().unwrap_or_default().to_owned();
        Self {
            destination: Discovered {
                registry: SharedRegistry::new(registry),
                query,
                balance: Balance::default(),
            },
            config: Config::new(name, INSTANCE_CONNECT_TIMEOUT),
        }
    }

    /// Sets how calls are distributed among the instances. The default is
    /// [`Balance::PowerOfTwoChoices`].
    pub fn balance(mut self, balance: Balance) -> Self {
        self.destination.balance = balance;
        self
    }

    /// Checks the settings.
    pub(super) fn into_parts(self) -> Result<(Arc<Client>, Destination), Error> {
        let (config, [destination]) = self.into_destinations()?;
        Ok((Arc::new(Client::new(config)), destination))
    }

    /// Like the method of the same name for a fixed endpoint.
    pub(super) fn into_forwarding_parts(
        mut self,
    ) -> Result<(Arc<Client>, [Destination; 2]), Error> {
        self.config.bodies = Bodies::Raw;
        self.config.retry = RetryPolicy::never();
        let (config, destinations) = self.into_destinations()?;
        Ok((Arc::new(Client::new(config)), destinations))
    }

    /// Checks the settings. Returns destinations that do not share connections.
    fn into_destinations<const N: usize>(self) -> Result<(Config, [Destination; N]), Error> {
        self.check()?;
        let Discovered {
            registry,
            query,
            balance,
        } = self.destination;
        let Some(name) = query.required_name() else {
            return Err(Error::InvalidSetting {
                setting: "query",
                problem: "must name the agent",
            });
        };
        check_name(name).map_err(Error::InvalidName)?;
        query.check().map_err(|_| Error::InvalidSetting {
            setting: "query",
            problem: "contains an invalid version requirement",
        })?;
        let (backoff, limit) = (self.config.retry.delays(), self.config.connect_timeout);
        let mut connect = self.config.connect.clone();
        connect.demands = self.config.demands();
        let destinations = std::array::from_fn(|_| {
            let (registry, query) = (registry.clone(), query.clone());
            let (connect, backoff) = (connect.clone(), backoff.clone());
            let observers = self.config.observers.clone();
            let discovery =
                Discovery::new(registry, query, balance, backoff, limit, connect, observers);
            Destination::Discovered(discovery)
        });
        Ok((self.config, destinations))
    }
}

impl fmt::Debug for FixedEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FixedEndpoint")
            .field(&self.endpoint)
            .field(&self.connector)
            .finish()
    }
}

impl fmt::Debug for Discovered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Discovered")
            .field("query", &self.query)
            .field("balance", &self.balance)
            .finish_non_exhaustive()
    }
}

/// The default timeout for connecting to a fixed endpoint.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The default timeout for connecting to one instance of a discovered agent. The timeout is shorter
/// than `CONNECT_TIMEOUT` because a call can try other instances.
const INSTANCE_CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
