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
use crate::{Event, Watch, WatchScope};

/// One reader of what happens.
pub(super) struct Watcher {
    /// It does not keep the registry alive.
    shared: Weak<Shared>,
    scope: WatchScope,
    snapshot: Option<Event>,
    events: Receiver<Event>,
    lost_sweeper: Arc<Notify>,
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
            lost_sweeper: shared.on_lost_sweeper(),
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
            // Waits for it from before the look at what it is about.
            let mut lost_sweeper = pin!(self.lost_sweeper.notified());
            lost_sweeper.as_mut().enable();
            // Without one, nobody would tell of what expires.
            let is_swept = (self.shared.upgrade()).is_some_and(|shared| shared.ensure_sweeper());
            let event = select! {
                biased;
                event = self.events.recv() => event,
                () = lost_sweeper, if is_swept => continue,
            };
            match event {
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
