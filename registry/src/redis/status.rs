//! [`Status`]: what the watches of one registry share about its connection.

use std::sync::Arc;

use tokio::sync::watch;

use super::fault::Fault;

/// The state of the background tasks and of the subscription, for the watches.
#[derive(Debug, Clone, Default)]
pub(super) struct Status {
    /// The number of subscriptions so far. Changes between two subscriptions may have been missed.
    pub(super) subscriptions: u64,
    /// True while the listener is subscribed to changes.
    pub(super) is_subscribed: bool,
    /// Why Redis refuses the subscription, while it does.
    pub(super) refusal: Option<Fault>,
    /// The last known epoch.
    pub(super) epoch: Option<Arc<str>>,
    /// True while a listener task exists.
    pub(super) has_listener: bool,
    /// True while a sweeper task exists.
    pub(super) has_sweeper: bool,
}

impl Status {
    /// Returns true unless an attempt to subscribe is under way.
    pub(super) fn is_settled(&self) -> bool {
        self.is_subscribed || self.refusal.is_some() || !self.has_listener
    }

    /// Returns true if a task ended with its runtime and has to be started again.
    pub(super) fn lacks_tasks(&self) -> bool {
        !self.has_listener || !self.has_sweeper
    }
}

/// Records a new subscription, after which every watch resyncs.
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

/// Records the current epoch. An emptied Redis publishes nothing, so a new epoch is noticed by the
/// operations that return it.
pub(super) fn record_epoch(status: &watch::Sender<Status>, epoch: &Arc<str>) {
    status.send_if_modified(|status| {
        let is_new = status.epoch.as_ref() != Some(epoch);
        if is_new {
            status.epoch = Some(Arc::clone(epoch));
        }
        is_new
    });
}
