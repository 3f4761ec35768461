use std::sync::Arc;

use agentwire_codec::{Format, FrameLimits, RequestId};
use agentwire_transport::{Connector, Endpoint};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    config::Config,
    counters::{ClientStats, Counters},
    mux::Mux,
    pool::Pool,
    retry::RetryPolicy,
};
use crate::CallSite;

/// Whom a client calls: shared by its clones and by its calls.
#[derive(Clone)]
pub(super) struct Target(Arc<Inner>);

struct Inner {
    config: Config,
    pool: Arc<Pool>,
    /// There only if calls may share connections.
    mux: Option<Mux>,
    counters: Arc<Counters>,
    closed: CancellationToken,
    /// The calls that closing waits for.
    calls: TaskTracker,
    /// What `Agent::name` returns: the configured name, or the endpoint.
    shown_name: String,
}

impl Target {
    pub(super) fn new(connector: Arc<dyn Connector>, config: Config) -> Self {
        let shown_name = match config.name.as_str() {
            "" => connector.endpoint().to_string(),
            name => name.to_owned(),
        };
        let counters = Arc::<Counters>::default();
        let mux = (config.max_in_flight > 1).then(|| {
            Mux::new(
                Arc::clone(&connector),
                config.frame_limits,
                config.max_connections,
                config.max_in_flight,
                Arc::clone(&counters),
            )
        });
        let pool = Arc::new(Pool::new(
            connector,
            config.frame_limits,
            config.max_connections,
            Arc::clone(&counters),
        ));
        Self(Arc::new(Inner {
            config,
            pool,
            mux,
            counters,
            closed: CancellationToken::new(),
            calls: TaskTracker::new(),
            shown_name,
        }))
    }

    pub(super) fn config(&self) -> &Config {
        &self.0.config
    }

    pub(super) fn pool(&self) -> &Arc<Pool> {
        &self.0.pool
    }

    pub(super) fn mux(&self) -> Option<&Mux> {
        self.0.mux.as_ref()
    }

    pub(super) fn counters(&self) -> &Arc<Counters> {
        &self.0.counters
    }

    pub(super) fn calls(&self) -> &TaskTracker {
        &self.0.calls
    }

    pub(super) fn closed(&self) -> &CancellationToken {
        &self.0.closed
    }

    pub(super) fn retry(&self) -> &RetryPolicy {
        &self.0.config.retry
    }

    pub(super) fn frame_limits(&self) -> FrameLimits {
        self.0.config.frame_limits
    }

    pub(super) fn format(&self) -> Format {
        self.0.config.format
    }

    pub(super) fn shown_name(&self) -> &str {
        &self.0.shown_name
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        self.0.pool.connector().endpoint()
    }

    pub(super) fn site(&self, tool: Option<String>, request_id: Option<RequestId>) -> CallSite {
        CallSite {
            agent: self.0.config.name.clone(),
            tool,
            endpoint: self.endpoint().clone(),
            request_id,
        }
    }

    pub(super) fn stats(&self) -> ClientStats {
        let shared = self.mux().map_or(0, Mux::idle);
        self.0.counters.stats(self.0.pool.idle() + shared)
    }

    pub(super) async fn close(&self) {
        self.0.closed.cancel();
        self.0.pool.close();
        if let Some(mux) = &self.0.mux {
            mux.refuse();
            // Those with calls are kept by these.
            mux.close();
        }
        self.0.calls.close();
        self.0.calls.wait().await;
        if let Some(mux) = &self.0.mux {
            mux.close();
        }
    }
}
