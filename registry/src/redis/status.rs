//! The status of background tasks: [`Status`].

use std::sync::Arc;

use tokio::sync::watch;

use super::fault::Fault;

/// The status of the background tasks and of the subscription. All watches share this status.
#[derive(Debug, Clone, Default)]
pub(super) struct Status {
    /// The total number of subscriptions. Changes between two subscriptions may have been missed.
    pub(super) subscriptions: u64,
    /// Whether the listener is subscribed to changes.
    pub(super) is_subscribed: bool,
    /// The reason why Redis refuses the subscription, if it does.
    pub(super) refusal: Option<Fault>,
    /// The last known epoch.
    pub(super) epoch: Option<Arc<str>>,
    /// Whether a listener task exists.
    pub(super) has_listener: bool,
    /// Whether a sweeper task exists.
    pub(super) has_sweeper: bool,
}

impl Status {
    /// Returns `false` while an attempt to subscribe is in progress.
    pub(super) fn is_settled(&self) -> bool {
        self.is_subscribed || self.refusal.is_some() || !self.has_listener
    }

    /// Returns whether a task was dropped with its runtime and must be started again.
    pub(super) fn lacks_tasks(&self) -> bool {
        !self.has_listener || !self.has_sweeper
    }
}

/// Records a new subscription. All watches resync after a new subscription.
pub(super) fn record_subscription(status: &watch::Sender<Status>) {
    status.send_modify(|status| {
        status.subscriptions += 1;
        status.is_subscribed = true;
        status.refusal = None;
    });
}

/// Records that the subscription was lost.
pub(super) fn record_disconnect(status: &watch::Sender<Status>) {
    status.send_modify(|status| status.is_subscribed = false);
}

/// Records that Redis refuses the subscription.
pub(super) fn record_refusal(status: &watch::Sender<Status>, fault: Fault) {
    status.send_modify(|status| status.refusal = Some(fault));
}

/// Records the current epoch. Redis does not publish the loss of its data. An operation that
/// returns the epoch therefore detects a new epoch.
pub(super) fn record_epoch(status: &watch::Sender<Status>, epoch: &Arc<str>) {
    status.send_if_modified(|status| {
        let is_new = status.epoch.as_ref() != Some(epoch);
        if is_new {
            status.epoch = Some(Arc::clone(epoch));
        }
        is_new
    });
}
