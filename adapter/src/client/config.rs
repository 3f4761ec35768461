use std::{sync::Arc, time::Duration};

use agentwire_codec::{Format, FrameLimits};
use agentwire_registry::{SharedRegistry, check_name};
use agentwire_transport::{Connector, Endpoint, Error as TransportError, internal::MAX_TIMEOUT};

use super::{
    Balance, RemoteAgent, RetryPolicy, discovery::Discovery, pool::IDLE_LIMIT, target::Target,
};
use crate::Error;

/// The time that a call is given unless it is told otherwise.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// How many connections a client opens unless it is told otherwise.
const DEFAULT_MAX_CONNECTIONS: usize = 64;

/// How long an instance of an agent that is called by name may take to be connected to, unless it is told otherwise.
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How a [`RemoteAgent`] calls. Made by [`RemoteAgent::builder`] and [`RemoteAgent::discover`].
#[derive(Debug)]
#[must_use]
pub struct RemoteAgentBuilder {
    whom: Whom,
    config: Config,
    balance: Balance,
    connect_timeout: Duration,
}

/// Whom a client is to call.
#[derive(Debug)]
enum Whom {
    At(Result<Arc<dyn Connector>, TransportError>),
    Named {
        registry: SharedRegistry,
        name: String,
    },
}

#[derive(Debug, Clone)]
pub(super) struct Config {
    pub(super) name: String,
    pub(super) timeout: Duration,
    pub(super) max_connections: usize,
    pub(super) max_in_flight: usize,
    pub(super) idle_limit: Duration,
    pub(super) retry: RetryPolicy,
    pub(super) frame_limits: FrameLimits,
    pub(super) format: Format,
}

impl RemoteAgentBuilder {
    pub(super) fn new<E>(endpoint: E) -> Self
    where
        E: TryInto<Endpoint>,
        TransportError: From<E::Error>,
    {
        let endpoint = endpoint.try_into().map_err(TransportError::from);
        let connector = endpoint.map(|endpoint| Arc::new(endpoint) as Arc<dyn Connector>);
        Self::calling(Whom::At(connector), String::new())
    }

    pub(super) fn by_name(registry: SharedRegistry, name: String) -> Self {
        let whom = Whom::Named {
            registry,
            name: name.clone(),
        };
        Self::calling(whom, name)
    }

    fn calling(whom: Whom, name: String) -> Self {
        Self {
            whom,
            config: Config {
                name,
                timeout: DEFAULT_TIMEOUT,
                max_connections: DEFAULT_MAX_CONNECTIONS,
                max_in_flight: 1,
                idle_limit: IDLE_LIMIT,
                retry: RetryPolicy::default(),
                frame_limits: FrameLimits::default(),
                format: Format::default(),
            },
            balance: Balance::default(),
            connect_timeout: DEFAULT_CONNECT_TIMEOUT,
        }
    }

    /// The name to call the agent by. Default: none, which every server with one agent accepts; for an agent that is
    /// [discovered](RemoteAgent::discover), the name that it is registered under.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.config.name = name.into();
        self
    }

    /// How long a call may take, from queueing to its answer; for streams, from chunk to chunk. Default: 30 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.config.timeout = timeout;
        self
    }

    /// How many connections are open at most, to each instance if there are several. Default: 64. Each call and each stream has one to itself; at
    /// the limit, calls wait for their turn, within their timeout, and are served in order.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.config.max_connections = connections;
        self
    }

    /// How many calls share one connection, once there are [`max_connections`](Self::max_connections) of them.
    /// Default: 1, which is sharing nothing.
    ///
    /// For servers that answer the requests of one connection as they finish, as those of this library do. With
    /// a server that answers in order, as Python's and Go's, a slow call holds up those behind it. Streams have
    /// connections of their own in any case, up to `max_connections` besides. A call that is given up does not
    /// close a shared connection, so the server works on for nobody; its answer is discarded. A connection over
    /// which nothing has come while a call timed out takes no more calls and is replaced; until the calls that it
    /// has are done, there is one more than `max_connections`.
    pub fn max_in_flight_per_connection(mut self, calls: usize) -> Self {
        self.config.max_in_flight = calls;
        self
    }

    /// How long a connection is kept that no call uses; no time at all means that none is used twice.
    pub(crate) fn idle_limit(mut self, limit: Duration) -> Self {
        self.config.idle_limit = limit;
        self
    }

    /// What is tried again. By default, connecting is, within the timeout of the call, and nothing else.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.config.retry = policy;
        self
    }

    /// How large frames may be. Default: 10 MiB each way. A larger message fails here, before anything is
    /// sent; a larger answer ends the connection.
    pub fn frame_limits(mut self, limits: FrameLimits) -> Self {
        self.config.frame_limits = limits;
        self
    }

    /// How envelopes are written. Default: JSON, which every server reads. Rust servers answer in the format in
    /// which they are asked.
    pub fn format(mut self, format: Format) -> Self {
        self.config.format = format;
        self
    }

    /// Connects through a transport of your own in place of the endpoint's, or of the registry's.
    pub fn connector(mut self, connector: impl Connector) -> Self {
        self.whom = Whom::At(Ok(Arc::new(connector)));
        self
    }

    /// How calls are spread over the instances of an agent that is [discovered](RemoteAgent::discover). Default:
    /// [`Balance::PowerOfTwoChoices`]. With a fixed endpoint there is nothing to balance.
    pub fn balance(mut self, balance: Balance) -> Self {
        self.balance = balance;
        self
    }

    /// How long one instance of an agent that is [discovered](RemoteAgent::discover) may take to be connected to, before
    /// another is tried. Default: 3 s, and never more than a third of what is left of the call's time. At a fixed
    /// endpoint, connecting may take all the time of the call.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Checks the settings. It does not connect; the first call does.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidEndpoint`], [`Error::InvalidName`] or [`Error::InvalidSetting`].
    pub fn build(self) -> Result<RemoteAgent, Error> {
        let config = self.config;
        for (setting, number) in [
            ("max_connections", config.max_connections),
            ("max_in_flight_per_connection", config.max_in_flight),
        ] {
            if number == 0 {
                let problem = "must be at least 1";
                return Err(Error::InvalidSetting { setting, problem });
            }
        }
        let target = match self.whom {
            Whom::At(connector) => Target::new(connector.map_err(Error::InvalidEndpoint)?, config),
            Whom::Named { registry, name } => {
                check_name(&name).map_err(Error::InvalidName)?;
                let connect_timeout = self.connect_timeout.min(MAX_TIMEOUT);
                let waits = config.retry.waits();
                let discovery =
                    Discovery::new(registry, name, self.balance, waits, connect_timeout);
                Target::by_name(discovery, config)
            }
        };
        Ok(RemoteAgent::from_target(target))
    }
}

/// What one call wants differently from its client.
///
/// ```
/// use std::time::Duration;
///
/// use agentwire::CallOptions;
///
/// let patient = CallOptions::new().timeout(Duration::from_secs(300));
/// ```
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct CallOptions {
    pub(super) timeout: Option<Duration>,
    pub(super) total_timeout: Option<Duration>,
}

impl CallOptions {
    /// As the client has it.
    pub fn new() -> Self {
        Self::default()
    }

    /// How long this call may take; for a stream, from chunk to chunk. Default: the client's.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// How long a whole stream may take, however fast its chunks come. Default: no limit. For a call, which has
    /// one answer, this is another [`timeout`](Self::timeout); the shorter of them holds.
    pub fn total_timeout(mut self, timeout: Duration) -> Self {
        self.total_timeout = Some(timeout);
        self
    }
}
