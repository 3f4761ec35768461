use std::sync::Weak;

use futures_util::stream;
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::shared::Shared;
use crate::{Event, Scope, Watch};

/// One reader of what happens.
pub(super) struct Watcher {
    /// It does not keep the registry alive.
    shared: Weak<Shared>,
    scope: Scope,
    snapshot: Option<Event>,
    events: Receiver<Event>,
}

impl Watcher {
    pub(super) fn new(
        shared: Weak<Shared>,
        scope: Scope,
        snapshot: Event,
        events: Receiver<Event>,
    ) -> Self {
        Self {
            shared,
            scope,
            snapshot: Some(snapshot),
            events,
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
            match self.events.recv().await {
                Ok(event) => {
                    let registration = event.registration();
                    if registration.is_none_or(|registration| self.scope.contains(registration)) {
                        return Some(event);
                    }
                }
                Err(RecvError::Lagged(missed)) => {
                    tracing::debug!(missed, "a reader of a watch is too slow; it starts over");
                    let (snapshot, events) = self.shared.upgrade()?.subscribe(&self.scope, true);
                    self.events = events;
                    return Some(snapshot);
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }
}
