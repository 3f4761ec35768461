use std::sync::Arc;

use tokio::sync::watch;

use super::fault::Fault;

/// What readers of a watch must know of Redis, besides what happens there.
#[derive(Debug, Clone, Default)]
pub(super) struct Status {
    /// How often changes began to come in. What happened before is not known.
    pub(super) subscriptions: u64,
    /// True while changes come in.
    pub(super) is_subscribed: bool,
    /// Why Redis lets nobody listen, until it does.
    pub(super) refusal: Option<Fault>,
    /// The epoch that was seen last.
    pub(super) epoch: Option<Arc<str>>,
    /// True while there is a task that listens.
    pub(super) listens: bool,
    /// True while there is a task that sweeps.
    pub(super) sweeps: bool,
}

impl Status {
    /// True if it is known whether changes come in, or else that nobody tries.
    pub(super) fn is_decided(&self) -> bool {
        self.is_subscribed || self.refusal.is_some() || !self.listens
    }

    /// True if a task has ended, with its runtime.
    pub(super) fn lacks_tasks(&self) -> bool {
        !self.listens || !self.sweeps
    }
}

/// Tells of a new subscription: whatever a reader knows may be out of date.
pub(super) fn subscribed(status: &watch::Sender<Status>) {
    status.send_modify(|status| {
        status.subscriptions += 1;
        status.is_subscribed = true;
        status.refusal = None;
    });
}

/// Tells that nothing comes in any more.
pub(super) fn unsubscribed(status: &watch::Sender<Status>) {
    status.send_modify(|status| status.is_subscribed = false);
}

/// Tells that Redis does not let this registry listen.
pub(super) fn refused(status: &watch::Sender<Status>, fault: Fault) {
    status.send_modify(|status| status.refusal = Some(fault));
}

/// Tells of an epoch that was seen. An emptied Redis tells nobody, so that somebody has to notice.
pub(super) fn seen(status: &watch::Sender<Status>, epoch: &Arc<str>) {
    status.send_if_modified(|status| {
        let is_new = status.epoch.as_ref() != Some(epoch);
        if is_new {
            status.epoch = Some(Arc::clone(epoch));
        }
        is_new
    });
}
