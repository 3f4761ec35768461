use std::sync::{Arc, Weak};

use futures_util::stream;
use tokio::{
    select,
    sync::{
        broadcast::{self, error::RecvError},
        watch,
    },
    time::sleep,
};

use super::{
    backoff::Backoff,
    change::Change,
    position::{Position, Step},
    shared::Shared,
    snapshot::Missed,
    status::Status,
};
use crate::{Event, RegistryError, Scope, Watch, registration::sort};

/// One reader of what happens.
pub(super) struct Watcher {
    /// It does not keep the registry alive.
    shared: Weak<Shared>,
    scope: Scope,
    changes: broadcast::Receiver<Change>,
    status: watch::Receiver<Status>,
    /// Where it stands, once it has been given a snapshot.
    known: Option<Known>,
    /// True once it has been given the first one.
    has_begun: bool,
}

/// Since when its reader knows everything, and up to where.
struct Known {
    subscriptions: u64,
    position: Position,
}

impl Watcher {
    pub(super) fn new(shared: &Arc<Shared>, scope: Scope) -> Self {
        Self {
            changes: shared.changes.subscribe(),
            status: shared.status.subscribe(),
            shared: Arc::downgrade(shared),
            scope,
            known: None,
            has_begun: false,
        }
    }

    pub(super) fn into_watch(self) -> Watch {
        Watch::new(stream::unfold(self, |mut watcher| async {
            let event = watcher.next().await?;
            Some((event, watcher))
        }))
    }

    async fn next(&mut self) -> Option<Result<Event, RegistryError>> {
        loop {
            let Some(known) = &mut self.known else {
                return self.snapshot().await;
            };
            let change = select! {
                // Both may be dropped. What is out of date is not worth reading.
                biased;
                changed = self.status.changed() => {
                    changed.ok()?;
                    if !known.is_current(&self.status.borrow_and_update()) {
                        self.known = None;
                    }
                    continue;
                }
                change = self.changes.recv() => change,
            };
            match change {
                Ok(change) => match (known.position.follow(&change.position), change.event) {
                    (Step::Old, _) => {}
                    (Step::Next, Some(event)) => {
                        let about = event.registration();
                        if about.is_some_and(|about| self.scope.contains(about)) {
                            return Some(Ok(event));
                        }
                    }
                    (Step::Next, None) | (Step::Gap, _) => self.known = None,
                },
                Err(RecvError::Lagged(missed)) => {
                    tracing::debug!(missed, "a reader of a watch is too slow; it starts over");
                    self.known = None;
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// The present, however long it takes to reach Redis.
    async fn snapshot(&mut self) -> Option<Result<Event, RegistryError>> {
        let mut backoff = Backoff::new();
        loop {
            let shared = self.shared.upgrade()?;
            shared.sweep();
            shared.listen();
            drop(shared);
            // Nothing that is shared is held meanwhile, or the registry could not end.
            let status = self.status.wait_for(|status| status.subscriptions > 0);
            let subscriptions = status.await.ok()?.subscriptions;
            let shared = self.shared.upgrade()?;
            // What came before has no place after it.
            self.changes = shared.changes.subscribe();
            match shared.snapshot(&self.scope, &mut self.changes).await {
                Ok(Ok(snapshot)) => {
                    let (position, mut registrations) = snapshot.into_parts();
                    sort(&mut registrations);
                    self.known = Some(Known {
                        subscriptions,
                        position,
                    });
                    let is_resync = std::mem::replace(&mut self.has_begun, true);
                    return Some(Ok(Event::snapshot(registrations, is_resync)));
                }
                Ok(Err(Missed)) => {}
                Err(error @ RegistryError::InvalidName { .. }) => return Some(Err(error)),
                Err(error) => {
                    tracing::debug!(%error, "cannot read what is registered; trying again");
                }
            }
            drop(shared);
            sleep(backoff.wait()).await;
        }
    }
}

impl Known {
    fn is_current(&self, status: &Status) -> bool {
        let epoch = status.epoch.as_ref();
        status.subscriptions == self.subscriptions
            && epoch.is_none_or(|epoch| *epoch == self.position.epoch)
    }
}
