//! A watch of a [`LocalRegistry`](super::LocalRegistry).

use std::{
    pin::pin,
    sync::{Arc, Weak},
};

use futures_util::stream;
use tokio::{
    select,
    sync::{
        Notify,
        broadcast::{Receiver, error::RecvError},
    },
};

use super::shared::Shared;
use crate::{Event, Watch, WatchScope, backend::WatchExt};

/// The state of a watch.
pub(super) struct Watcher {
    /// The registry. The reference is weak because a watch does not keep the registry alive.
    shared: Weak<Shared>,
    scope: WatchScope,
    snapshot: Option<Event>,
    events: Receiver<Event>,
    sweeper_lost: Arc<Notify>,
}

impl Watcher {
    pub(super) fn new(
        shared: &Arc<Shared>,
        scope: WatchScope,
        snapshot: Event,
        events: Receiver<Event>,
    ) -> Self {
        Self {
            shared: Arc::downgrade(shared),
            scope,
            snapshot: Some(snapshot),
            events,
            sweeper_lost: shared.sweeper_lost(),
        }
    }

    pub(super) fn into_watch(self) -> Watch {
        Watch::new(stream::unfold(self, |mut watcher| async {
            let event = watcher.next().await?;
            Some((Ok(event), watcher))
        }))
    }

    async fn next(&mut self) -> Option<Event> {
        if let Some(snapshot) = self.snapshot.take() {
            return Some(snapshot);
        }
        loop {
            // Enable the notification before checking for a sweeper, so that the loss of a sweeper
            // after the check is noticed.
            let mut sweeper_lost = pin!(self.sweeper_lost.notified());
            sweeper_lost.as_mut().enable();
            // Only a running sweeper reports expiries.
            let has_sweeper = (self.shared.upgrade()).is_some_and(|shared| shared.ensure_sweeper());
            let event = select! {
                // Both branches are cancel safe.
                biased;
                event = self.events.recv() => event,
                () = sweeper_lost, if has_sweeper => continue,
            };
            match event {
                Ok(event) => {
                    let registration = event.registration();
                    if registration.is_none_or(|registration| self.scope.contains(registration)) {
                        return Some(event);
                    }
                }
                Err(RecvError::Lagged(missed)) => {
                    tracing::debug!(missed, "watch too slow and events lost; resyncing");
                    let (snapshot, events) = self.shared.upgrade()?.subscribe(&self.scope, true);
                    self.events = events;
                    return Some(snapshot);
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }
}
