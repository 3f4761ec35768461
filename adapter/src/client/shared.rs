//! The state that all channels of one [`RemoteAgent`](crate::RemoteAgent) share.

use std::{fmt, sync::Arc};

use agentwire_codec::RequestId;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{config::Config, stats::Counters};
use crate::observer::{Observer, Observers, RequestEvent, Side};

/// The settings, counters and closing state of one client.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) config: Config,
    /// The observer of the client, if there is one.
    pub(super) observed: Option<ObservedClient>,
    pub(super) counters: Arc<Counters>,
    /// Cancelled when the client is closed.
    pub(super) closed: CancellationToken,
    /// Tracks the calls that must end before the client is closed.
    pub(super) calls: TaskTracker,
}

impl Client {
    pub(super) fn new(config: Config) -> Self {
        Self {
            observed: ObservedClient::new(&config.observers, &config.name),
            counters: Arc::new(Counters::new(config.observers.clone())),
            config,
            closed: CancellationToken::new(),
            calls: TaskTracker::new(),
        }
    }
}

/// The observer of a client, and the name of the agent in its events.
pub(super) struct ObservedClient {
    pub(super) observer: Arc<dyn Observer>,
    pub(super) agent: Box<str>,
}

impl ObservedClient {
    fn new(observers: &Observers, agent: &str) -> Option<Self> {
        Some(Self {
            observer: Arc::clone(observers.get()?),
            agent: agent.into(),
        })
    }

    /// Returns a call as the observer sees it.
    pub(super) fn event<'a>(&'a self, method: &'static str, id: &'a RequestId) -> RequestEvent<'a> {
        RequestEvent {
            side: Side::Client,
            method,
            name: &self.agent,
            id,
            peer: None,
            connection: None,
        }
    }
}

impl fmt::Debug for ObservedClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObservedClient")
            .field("agent", &self.agent)
            .finish_non_exhaustive()
    }
}
