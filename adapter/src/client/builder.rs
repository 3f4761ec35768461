//! Settings for calling an agent.

use std::{fmt, sync::Arc, time::Duration};

use agentwire_codec::{Format, FrameLimits};
use agentwire_registry::{Query, Registry, SharedRegistry, backend::QueryExt, check_name};
use agentwire_transport::{
    Connector, Endpoint, EndpointConnector, Error as TransportError, TcpOptions,
    internal::MAX_TIMEOUT,
};

use super::{
    channel::Channel,
    config::Config,
    retry_policy::RetryPolicy,
    router::{Balance, Destination, Discovery},
    shared::Client,
};
use crate::Error;

/// Settings for calling an agent. Made by [`RemoteAgent::builder`] for an agent at a fixed
/// endpoint, and by [`RemoteAgent::discover`] for the instances of an agent that a registry lists.
///
/// `D` is the kind of destination: [`FixedEndpoint`] or [`Discovered`]. A setting that means
/// nothing for a destination does not exist there.
///
/// [`RemoteAgent::builder`]: crate::RemoteAgent::builder
/// [`RemoteAgent::discover`]: crate::RemoteAgent::discover
#[derive(Debug)]
#[must_use]
pub struct RemoteAgentBuilder<D = FixedEndpoint> {
    destination: D,
    config: Config,
}

/// The destination of a client that calls one endpoint. See [`RemoteAgentBuilder`].
pub struct FixedEndpoint {
    endpoint: Result<Endpoint, TransportError>,
    /// Connects in place of the endpoint.
    connector: Option<Arc<dyn Connector>>,
}

/// The destination of a client that calls what a registry lists. See [`RemoteAgentBuilder`].
pub struct Discovered {
    registry: SharedRegistry,
    query: Query,
    balance: Balance,
}

impl<D> RemoteAgentBuilder<D> {
    /// The name to call the agent by. Default: none, which every server with a single agent
    /// accepts; for a [discovered](crate::RemoteAgent::discover) agent, its registered name.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.config.name = name.into();
        self
    }

    /// How long a call may take, from queueing to its answer; for streams, from chunk to chunk.
    /// Default: 30 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.config.timeout = timeout;
        self
    }

    /// How long connecting may take, within the time of the call. Default: 5 s; 3 s for each
    /// instance of a [discovered](crate::RemoteAgent::discover) agent.
    ///
    /// A connection that takes longer has failed, and connecting is tried again as
    /// [`retry`](Self::retry) allows. At a discovered agent the next attempt goes to another
    /// instance; one instance never takes more than a third of the time that the call has left.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.config.connect_timeout = timeout.min(MAX_TIMEOUT);
        self
    }

    /// How many connections may be open, to each instance if there are several. Default: 64.
    ///
    /// Each call and each stream has a connection to itself. At the limit, calls wait in order,
    /// within their timeout.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.config.max_connections = connections;
        self
    }

    /// How many calls share one connection once [`max_connections`](Self::max_connections) are
    /// open. Default: 1, so that none is shared.
    ///
    /// This is for servers that answer the requests of one connection as they finish, as the
    /// servers of this library do. With a server that answers in order, as Python's and Go's do, a
    /// slow call holds up those behind it. Streams never share a connection; they may open up to
    /// `max_connections` more.
    ///
    /// A call that is given up does not close a shared connection: the server continues to work,
    /// and its answer is discarded. If a call times out on a connection on which nothing has
    /// arrived meanwhile, that connection takes no more calls and is replaced. Until its calls have
    /// ended, one connection more than `max_connections` is open.
    pub fn max_in_flight_per_connection(mut self, calls: usize) -> Self {
        self.config.max_in_flight = calls;
        self
    }

    /// How long an idle connection is kept. Default: 50 s, because servers close idle connections
    /// after 60 s. Zero: no connection is used twice.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.config.idle_timeout = timeout.min(MAX_TIMEOUT);
        self
    }

    /// What is tried again. Default: connecting, within the timeout of the call, and nothing else.
    /// [`CallOptions::retry`](crate::CallOptions::retry) sets it for one call.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.config.retry = policy;
        self
    }

    /// How large frames may be. Default: 10 MiB each way. A larger message fails before anything is
    /// sent; a larger answer ends the connection.
    pub fn frame_limits(mut self, limits: FrameLimits) -> Self {
        self.config.frame_limits = limits;
        self
    }

    /// Sets the options of TCP connections, such as keepalive. A custom
    /// [`connector`](RemoteAgentBuilder::connector) has options of its own.
    pub fn tcp_options(mut self, options: TcpOptions) -> Self {
        self.config.tcp = options;
        self
    }

    /// How envelopes are encoded. Default: JSON, which every server reads. Servers in Rust answer
    /// in the format of the request.
    pub fn format(mut self, format: Format) -> Self {
        self.config.format = format;
        self
    }

    fn check(&self) -> Result<(), Error> {
        for (setting, number) in [
            ("max_connections", self.config.max_connections),
            ("max_in_flight_per_connection", self.config.max_in_flight),
        ] {
            if number == 0 {
                let problem = "must be at least 1";
                return Err(Error::InvalidSetting { setting, problem });
            }
        }
        Ok(())
    }
}

impl RemoteAgentBuilder<FixedEndpoint> {
    pub(super) fn new<E>(endpoint: E) -> Self
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

    /// Connects through a transport of your own in place of the endpoint's.
    pub fn connector(mut self, connector: impl Connector) -> Self {
        self.destination.connector = Some(Arc::new(connector));
        self
    }

    /// Checks the settings.
    pub(super) fn into_parts(self) -> Result<(Arc<Client>, Destination), Error> {
        self.check()?;
        let FixedEndpoint {
            endpoint,
            connector,
        } = self.destination;
        let connector = match connector {
            Some(connector) => connector,
            None => {
                let endpoint = endpoint.map_err(Error::InvalidEndpoint)?;
                Arc::new(EndpointConnector::new(endpoint, self.config.tcp.clone()))
            }
        };
        let client = Arc::new(Client::new(self.config));
        let channel = Channel::new(&client, connector);
        Ok((client, Destination::Fixed(channel)))
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

    /// How calls are spread over the instances. Default: [`Balance::PowerOfTwoChoices`].
    pub fn balance(mut self, balance: Balance) -> Self {
        self.destination.balance = balance;
        self
    }

    /// Checks the settings.
    pub(super) fn into_parts(self) -> Result<(Arc<Client>, Destination), Error> {
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
            problem: "its version requirement is invalid",
        })?;
        let (backoff, limit) = (self.config.retry.delays(), self.config.connect_timeout);
        let tcp = self.config.tcp.clone();
        let discovery = Discovery::new(registry, query, balance, backoff, limit, tcp);
        let client = Arc::new(Client::new(self.config));
        Ok((client, Destination::Discovered(discovery)))
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

/// How long connecting to a fixed endpoint may take by default.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long connecting to one instance of a discovered agent may take by default. Less than at a
/// fixed endpoint, because other instances can be tried.
const INSTANCE_CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
