use std::{fmt, sync::Arc};

use agentwire_codec::{Format, FrameLimits, RequestId};
use agentwire_transport::{Connector, Endpoint};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    config::Config,
    counters::{ClientStats, Counters},
    discovery::Discovery,
    mux::Mux,
    pool::Pool,
    retry::RetryPolicy,
};
use crate::CallContext;

/// Whom a client calls: shared by its clones and by its calls.
#[derive(Clone)]
pub(super) struct Target(Arc<Inner>);

struct Inner {
    client: Client,
    pool: Arc<Pool>,
    /// There only if calls may share connections.
    mux: Option<Mux>,
    /// What `Agent::name` returns: the configured name, or the endpoint.
    shown_name: String,
    /// Chooses another target for each attempt, if the agent is called by name.
    discovery: Option<Discovery>,
}

/// What the targets of one client have in common.
#[derive(Clone)]
struct Client {
    config: Config,
    counters: Arc<Counters>,
    closed: CancellationToken,
    /// The calls that closing waits for.
    calls: TaskTracker,
}

impl Target {
    /// The agent at one endpoint.
    pub(super) fn new(connector: Arc<dyn Connector>, config: Config) -> Self {
        Self::assemble(connector, Client::new(config), None)
    }

    /// An agent wherever it is found. Its own endpoint is for people to read.
    pub(super) fn by_name(discovery: Discovery, config: Config) -> Self {
        let nowhere = Arc::new(Endpoint::custom("any instance"));
        Self::assemble(nowhere, Client::new(config), Some(discovery))
    }

    /// One endpoint more for the same client.
    pub(super) fn sibling(&self, connector: Arc<dyn Connector>) -> Self {
        Self::assemble(connector, self.0.client.clone(), None)
    }

    fn assemble(
        connector: Arc<dyn Connector>,
        client: Client,
        discovery: Option<Discovery>,
    ) -> Self {
        let config = &client.config;
        let shown_name = match config.name.as_str() {
            "" => connector.endpoint().to_string(),
            name => name.to_owned(),
        };
        let mux = (config.max_in_flight > 1).then(|| {
            Mux::new(
                Arc::clone(&connector),
                config.frame_limits,
                config.max_connections,
                config.max_in_flight,
                Arc::clone(&client.counters),
            )
        });
        let pool = Arc::new(Pool::new(
            connector,
            config.frame_limits,
            config.max_connections,
            config.idle_limit,
            Arc::clone(&client.counters),
        ));
        Self(Arc::new(Inner {
            client,
            pool,
            mux,
            shown_name,
            discovery,
        }))
    }

    pub(super) fn discovery(&self) -> Option<&Discovery> {
        self.0.discovery.as_ref()
    }

    pub(super) fn config(&self) -> &Config {
        &self.0.client.config
    }

    pub(super) fn pool(&self) -> &Arc<Pool> {
        &self.0.pool
    }

    pub(super) fn mux(&self) -> Option<&Mux> {
        self.0.mux.as_ref()
    }

    pub(super) fn counters(&self) -> &Arc<Counters> {
        &self.0.client.counters
    }

    pub(super) fn calls(&self) -> &TaskTracker {
        &self.0.client.calls
    }

    pub(super) fn closed(&self) -> &CancellationToken {
        &self.0.client.closed
    }

    pub(super) fn retry(&self) -> &RetryPolicy {
        &self.0.client.config.retry
    }

    pub(super) fn frame_limits(&self) -> FrameLimits {
        self.0.client.config.frame_limits
    }

    pub(super) fn format(&self) -> Format {
        self.0.client.config.format
    }

    pub(super) fn shown_name(&self) -> &str {
        &self.0.shown_name
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        self.0.pool.connector().endpoint()
    }

    pub(super) fn site(&self, tool: Option<String>, request_id: Option<RequestId>) -> CallContext {
        CallContext {
            agent: self.0.client.config.name.clone(),
            tool,
            endpoint: self.endpoint().clone(),
            request_id,
        }
    }

    pub(super) fn stats(&self) -> ClientStats {
        let found = self.discovery().map_or(0, Discovery::idle);
        self.counters().stats(self.idle() + found)
    }

    /// How many of its connections wait for a call.
    pub(super) fn idle(&self) -> usize {
        self.0.pool.idle() + self.mux().map_or(0, Mux::idle)
    }

    /// Lets no more calls be made here, and closes each connection once its calls have ended.
    pub(super) fn retire(&self) {
        self.0.pool.close();
        if let Some(mux) = &self.0.mux {
            mux.refuse();
            // Those with calls are kept by these.
            mux.close();
        }
        if let Some(discovery) = &self.0.discovery {
            discovery.close();
        }
    }

    /// Closes the client.
    pub(super) async fn close(&self) {
        self.closed().cancel();
        self.retire();
        self.calls().close();
        self.calls().wait().await;
        // What a call was just about to open.
        self.retire();
    }
}

impl Client {
    fn new(config: Config) -> Self {
        Self {
            config,
            counters: Arc::default(),
            closed: CancellationToken::new(),
            calls: TaskTracker::new(),
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Target").field(self.endpoint()).finish()
    }
}
