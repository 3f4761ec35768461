//! Connects to instances and reports the outcomes.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use agentwire_transport::{BoxFuture, Connection, Connector, Endpoint, Error};
use tokio::time::{Instant, timeout};

use super::{
    health::{FailureEpoch, HealthSnapshot, Outcome},
    instance::Instance,
    state::Shared,
};
use crate::client::{channel::failure::connect_timed_out, connect::ConnectOptions};

/// The connector of an instance. The connector has its own timeout, and reports the outcome of an
/// attempt even if the caller drops the future.
#[derive(Debug)]
pub(super) struct InstanceConnector {
    endpoint: Endpoint,
    instance: u64,
    health: Arc<HealthSnapshot>,
    connect_timeout: Duration,
    options: ConnectOptions,
    shared: Weak<Shared>,
}

impl InstanceConnector {
    pub(super) fn new(
        instance: &Instance,
        health: Arc<HealthSnapshot>,
        shared: &Arc<Shared>,
    ) -> Self {
        Self {
            endpoint: instance.endpoint.clone(),
            instance: instance.id,
            health,
            connect_timeout: shared.connect_timeout,
            options: shared.connect.clone(),
            shared: Arc::downgrade(shared),
        }
    }

    fn report(&self, epoch: FailureEpoch, outcome: Outcome) {
        if let Some(shared) = self.shared.upgrade() {
            shared.report(self.instance, epoch, outcome);
        }
    }
}

impl Connector for InstanceConnector {
    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn connect(&self) -> BoxFuture<'_, Result<Connection, Error>> {
        Box::pin(async {
            let mut attempt = ReportOnDrop {
                connector: self,
                epoch: self.health.epoch(),
                began: Instant::now(),
                outcome: None,
            };
            let connecting = self.options.connect(&self.endpoint);
            let connected = match timeout(self.connect_timeout, connecting).await {
                Ok(connected) => connected,
                Err(_) => Err(connect_timed_out(&self.endpoint)),
            };
            attempt.outcome = Some(match connected {
                Ok(_) => Outcome::Connected,
                Err(_) => Outcome::Failed,
            });
            drop(attempt);
            connected
        })
    }
}

/// A connection attempt that reports its outcome when it is dropped.
struct ReportOnDrop<'a> {
    connector: &'a InstanceConnector,
    epoch: FailureEpoch,
    began: Instant,
    /// The outcome, or `None` if the caller dropped the attempt, for example at a deadline.
    outcome: Option<Outcome>,
}

impl Drop for ReportOnDrop<'_> {
    fn drop(&mut self) {
        let outcome = self.outcome.unwrap_or_else(|| {
            if self.began.elapsed() >= HANG_THRESHOLD {
                Outcome::Failed
            } else {
                Outcome::Abandoned
            }
        });
        self.connector.report(self.epoch, outcome);
    }
}

/// The duration after which a cancelled connection attempt counts as failed. Most connections are
/// opened much faster.
const HANG_THRESHOLD: Duration = Duration::from_millis(100);
