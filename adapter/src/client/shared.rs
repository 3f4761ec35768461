//! The state that all channels of one [`RemoteAgent`](crate::RemoteAgent) share.

use std::sync::Arc;

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{config::Config, stats::Counters};

/// The settings, counters and closing state of one client.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) config: Config,
    pub(super) counters: Arc<Counters>,
    /// Cancelled when the client is closed.
    pub(super) closed: CancellationToken,
    /// Tracks the calls that must end before the client is closed.
    pub(super) calls: TaskTracker,
}

impl Client {
    pub(super) fn new(config: Config) -> Self {
        Self {
            config,
            counters: Arc::default(),
            closed: CancellationToken::new(),
            calls: TaskTracker::new(),
        }
    }
}
