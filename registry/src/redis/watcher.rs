use std::sync::{
    Arc, Weak,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use agentwire_transport::internal::Backoff;
use futures_util::stream;
use tokio::{
    select,
    sync::{
        broadcast::{self, error::RecvError},
        watch,
    },
    task::JoinSet,
    time::sleep,
};

use super::{
    FIRST_WAIT, LONGEST_WAIT,
    change::Change,
    fault::is_forbidden,
    position::{Position, Step},
    refusals::Refusals,
    shared::Shared,
    snapshot::{Missed, Snapshots, Taken},
    status::{Status, seen},
};
use crate::{Event, RegistryError, Watch, WatchScope, backend::WatchExt, registration::sort};

/// One reader of what happens.
pub(super) struct Watcher {
    /// It does not keep the registry alive.
    shared: Weak<Shared>,
    scope: WatchScope,
    changes: broadcast::Receiver<Change>,
    status: watch::Receiver<Status>,
    /// Where it stands, once it has been given a snapshot.
    known: Option<Known>,
    /// True while it knows everything, for those who ask beside it.
    is_current: Arc<AtomicBool>,
    /// True once it has been given the first one.
    has_begun: bool,
    /// True once it has failed.
    has_ended: bool,
}

/// Since when its reader knows everything, and up to where.
struct Known {
    subscriptions: u64,
    position: Position,
}

impl Watcher {
    pub(super) fn new(shared: &Arc<Shared>, scope: WatchScope) -> Self {
        Self {
            changes: shared.changes.subscribe(),
            status: shared.status.subscribe(),
            shared: Arc::downgrade(shared),
            scope,
            known: None,
            is_current: Arc::default(),
            has_begun: false,
            has_ended: false,
        }
    }

    pub(super) fn into_watch(self) -> Watch {
        let (status, is_current) = (self.status.clone(), Arc::clone(&self.is_current));
        let events = stream::unfold(self, |mut watcher| async {
            let event = watcher.next().await?;
            Some((event, watcher))
        });
        Watch::new(events)
            .with_liveness(move || is_current.load(Relaxed) && status.borrow().is_subscribed)
    }

    async fn next(&mut self) -> Option<Result<Event, RegistryError>> {
        loop {
            self.is_current.store(self.known.is_some(), Relaxed);
            let Some(known) = &mut self.known else {
                return self.snapshot().await;
            };
            let change = select! {
                // Both may be dropped. What is out of date is not worth reading.
                biased;
                changed = self.status.changed() => {
                    changed.ok()?;
                    let status = self.status.borrow_and_update().clone();
                    if status.lacks_tasks() {
                        // They have ended with their runtime; this one's is here.
                        self.shared.upgrade()?.run_tasks();
                    }
                    if !known.is_current(&status) {
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
        if self.has_ended {
            return None;
        }
        let (mut refusals, mut misses) = (Refusals::default(), 0_u32);
        let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        loop {
            let snapshots = {
                let shared = self.shared.upgrade()?;
                shared.run_tasks();
                shared.snapshots()
            };
            // Nothing of the registry is held meanwhile, or it could not end.
            let status = self.status.wait_for(Status::is_decided);
            let status = status.await.ok()?.clone();
            if let Some(fault) = status.refusal {
                return self.fail(fault.at(snapshots.store.registry()));
            }
            let taken = match status.is_subscribed {
                true => self.take(snapshots).await?,
                // Whoever was to listen has ended with its runtime.
                false => None,
            };
            match taken.map(|taken| (taken.outcome, taken.subscriptions, taken.changes)) {
                Some((Ok(Ok(snapshot)), subscriptions, changes)) => {
                    seen(&self.shared.upgrade()?.status, snapshot.epoch());
                    self.changes = changes;
                    let (position, mut registrations) = snapshot.into_parts();
                    sort(&mut registrations);
                    self.known = Some(Known {
                        subscriptions,
                        position,
                    });
                    self.is_current.store(true, Relaxed);
                    let is_resync = std::mem::replace(&mut self.has_begun, true);
                    return Some(Ok(Event::snapshot(registrations, is_resync)));
                }
                Some((Ok(Err(Missed)), ..)) | None => {
                    misses = misses.saturating_add(1);
                    if misses % MANY_MISSES == 0 {
                        tracing::warn!(
                            misses,
                            "what is registered changes before it can be read; trying again"
                        );
                    }
                }
                Some((Err(error), ..)) => {
                    tracing::debug!(%error, "cannot read what is registered; trying again");
                    match &error {
                        RegistryError::InvalidName { .. } => return self.fail(error),
                        RegistryError::Refused { .. } => {
                            if refusals.is_enough(is_forbidden(&error)) {
                                return self.fail(error);
                            }
                        }
                        _ => refusals = Refusals::default(),
                    }
                }
            }
            sleep(backoff.next_delay()).await;
        }
    }

    /// Takes a snapshot, in a task of its own that goes on while nobody polls this one: others wait for their turn.
    /// `None` if the registry has ended, `Some(None)` if the task was not let to its end.
    async fn take(&self, snapshots: Snapshots) -> Option<Option<Taken>> {
        let mut taking = JoinSet::new();
        taking.spawn(snapshots.take(self.scope.clone()));
        let mut status = self.status.clone();
        let ended = async { while status.changed().await.is_ok() {} };
        select! {
            taken = taking.join_next() => match taken {
                Some(Ok(taken)) => Some(Some(taken?)),
                _ => Some(None),
            },
            () = ended => None,
        }
    }

    fn fail(&mut self, error: RegistryError) -> Option<Result<Event, RegistryError>> {
        self.has_ended = true;
        Some(Err(error))
    }
}

/// After so many misses in a row, people are told.
const MANY_MISSES: u32 = 10;

impl Known {
    fn is_current(&self, status: &Status) -> bool {
        let epoch = status.epoch.as_ref();
        status.refusal.is_none()
            && status.subscriptions == self.subscriptions
            && epoch.is_none_or(|epoch| *epoch == self.position.epoch)
    }
}
