use std::sync::Arc;

use tokio::sync::watch;

/// What readers of a watch must know of Redis, besides what happens there.
#[derive(Debug, Clone, Default)]
pub(super) struct Status {
    /// How often changes began to come in. What happened before is not known.
    pub(super) subscriptions: u64,
    /// The epoch that was seen last.
    pub(super) epoch: Option<Arc<str>>,
}

/// Tells of a new subscription: whatever a reader knows may be out of date.
pub(super) fn subscribed(status: &watch::Sender<Status>) {
    status.send_modify(|status| status.subscriptions += 1);
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
