//! Snapshots of a registry, which are read in pages: [`Snapshot`].

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{
        Semaphore,
        broadcast::{
            Receiver, Sender,
            error::{RecvError, TryRecvError},
        },
        watch,
    },
    time::timeout,
};

use super::{
    change::Change,
    id::{Range, id_of},
    position::{Position, Sequence},
    status::Status,
    store::{ReadMode, Store},
};
use crate::{Event, Registration, RegistryError, WatchScope};

/// All registrations at a position in the sequence of changes. The snapshot consists of pages that
/// were read one after another, and of the changes that were published in the meantime.
#[derive(Debug)]
pub(super) struct Snapshot {
    position: Position,
    scope: WatchScope,
    /// The entries of the pages, by id.
    read: BTreeMap<String, Arc<Registration>>,
    /// The latest states of entries that changed after the first page was read, or `None` for
    /// removed entries. The latest states override the entries of all pages, including pages that
    /// were read after the change.
    changed: HashMap<String, Option<Arc<Registration>>>,
}

/// A snapshot and the changes that follow it.
#[derive(Debug)]
pub(super) struct SyncedSnapshot {
    pub(super) snapshot: Snapshot,
    /// The number of the subscription that receives the changes.
    pub(super) subscriptions: u64,
    /// A receiver of the changes after the snapshot. Changes before the snapshot may also be
    /// received.
    pub(super) changes: Receiver<Change>,
}

/// The reason why a snapshot could not be read.
#[derive(Debug)]
pub(super) enum SnapshotError {
    /// The snapshot must be read again, because changes were missed while the pages were read.
    Stale,
    /// The registry has been dropped.
    Closed,
    /// Redis failed.
    Registry(RegistryError),
}

/// A reader of snapshots. The reader shares the connection to Redis, but does not keep the registry
/// alive.
pub(super) struct SnapshotReader {
    pub(super) store: Arc<Store>,
    /// Limits the number of concurrent reads. The semaphore is closed when the registry is dropped.
    pub(super) permits: Arc<Semaphore>,
    pub(super) changes: Sender<Change>,
    pub(super) status: watch::Receiver<Status>,
    /// The maximum wait for changes that the last page may already contain.
    pub(super) catch_up_limit: Duration,
}

impl SnapshotReader {
    pub(super) async fn read(self, scope: WatchScope) -> Result<SyncedSnapshot, SnapshotError> {
        let _permit = match timeout(MAX_PERMIT_WAIT, self.permits.acquire()).await {
            Ok(Ok(permit)) => Some(permit),
            Ok(Err(_)) => return Err(SnapshotError::Closed),
            Err(_) => None,
        };
        let subscriptions = self.status.borrow().subscriptions;
        // Subscribe before the first page is read, so that no change is missed.
        let mut changes = self.changes.subscribe();
        let snapshot = Snapshot::read(&self.store, &scope, &mut changes, self.catch_up_limit);
        Ok(SyncedSnapshot {
            snapshot: snapshot.await?,
            subscriptions,
            changes,
        })
    }
}

impl Snapshot {
    /// Reads a snapshot. The caller must already have subscribed to `changes`. When this method
    /// returns, `changes` continues with the changes after the snapshot.
    async fn read(
        store: &Store,
        scope: &WatchScope,
        changes: &mut Receiver<Change>,
        catch_up_limit: Duration,
    ) -> Result<Self, SnapshotError> {
        let first = store.page(Range::scope(scope)?, ReadMode::Watch).await?;
        let mut snapshot = Self::new(first.position, scope.clone());
        let mut end = snapshot.position.clone();
        snapshot.add(first.entries);
        let mut next = first.next;
        while let Some(range) = next {
            let page = store.page(range, ReadMode::Watch).await?;
            snapshot.add(page.entries);
            next = page.next;
            end = page.position;
            // Drain the changes after each page, so that the buffer does not have to contain the
            // changes of all pages.
            loop {
                match changes.try_recv() {
                    Ok(change) => snapshot.apply(&change)?,
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Lagged(_) | TryRecvError::Closed) => {
                        return Err(SnapshotError::Stale);
                    }
                }
            }
        }
        match timeout(catch_up_limit, snapshot.catch_up(&end, changes)).await {
            Ok(caught_up) => caught_up?,
            Err(_) => return Err(SnapshotError::Stale),
        }
        Ok(snapshot)
    }

    fn new(position: Position, scope: WatchScope) -> Self {
        Self {
            position,
            scope,
            read: BTreeMap::new(),
            changed: HashMap::new(),
        }
    }

    fn add(&mut self, entries: Vec<Arc<Registration>>) {
        let keyed = entries.into_iter().map(|entry| (id_of(&entry), entry));
        self.read.extend(keyed);
    }

    /// Waits for all changes up to the position of the last page. The page may already contain
    /// these changes.
    async fn catch_up(
        &mut self,
        end: &Position,
        changes: &mut Receiver<Change>,
    ) -> Result<(), Stale> {
        if end.epoch != self.position.epoch {
            return Err(Stale);
        }
        while self.position.revision < end.revision {
            match changes.recv().await {
                Ok(change) => self.apply(&change)?,
                Err(RecvError::Lagged(_) | RecvError::Closed) => return Err(Stale),
            }
        }
        Ok(())
    }

    fn apply(&mut self, change: &Change) -> Result<(), Stale> {
        match self.position.advance(&change.position) {
            Sequence::Old => return Ok(()),
            Sequence::Next => {}
            Sequence::Gap => return Err(Stale),
        }
        let event = change.event.as_ref().ok_or(Stale)?;
        if let Some(registration) = event.registration().filter(|it| self.scope.contains(it)) {
            let exists = matches!(event, Event::Joined(_) | Event::Updated(_));
            let state = exists.then(|| Arc::clone(registration));
            self.changed.insert(id_of(registration), state);
        }
        Ok(())
    }

    pub(super) fn epoch(&self) -> &Arc<str> {
        &self.position.epoch
    }

    /// Returns the position and, in any order, the registrations at that position.
    pub(super) fn into_parts(mut self) -> (Position, Vec<Arc<Registration>>) {
        for (id, state) in self.changed {
            match state {
                Some(registration) => self.read.insert(id, registration),
                None => self.read.remove(&id),
            };
        }
        (self.position, self.read.into_values().collect())
    }
}

/// Changes were missed.
#[derive(Debug, PartialEq, Eq)]
struct Stale;

impl From<Stale> for SnapshotError {
    fn from(_: Stale) -> Self {
        Self::Stale
    }
}

impl From<RegistryError> for SnapshotError {
    fn from(error: RegistryError) -> Self {
        Self::Registry(error)
    }
}

/// The maximum wait for a permit. A permit may be held by a task on a runtime that is not running,
/// so the snapshot is read without a permit after this time.
const MAX_PERMIT_WAIT: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use tokio::{sync::broadcast, time::Instant};

    use super::{
        super::{address::Address, keys::Keys},
        *,
    };

    fn agent(name: &str) -> Arc<Registration> {
        Arc::new(Registration::new(name, "tcp://host:80".parse().unwrap()))
    }

    fn at(revision: u64) -> Position {
        Position {
            epoch: "epoch".into(),
            revision,
        }
    }

    fn change(revision: u64, event: Event) -> Change {
        Change {
            position: at(revision),
            event: Some(event),
        }
    }

    fn names(snapshot: Snapshot) -> Vec<String> {
        let (_, all) = snapshot.into_parts();
        all.iter().map(|one| one.name.clone()).collect()
    }

    /// A snapshot whose first page was read at revision 5 and contained `a` and `b`.
    fn first_page(scope: WatchScope) -> Snapshot {
        let mut snapshot = Snapshot::new(at(5), scope);
        snapshot.add(vec![agent("a"), agent("b")]);
        snapshot
    }

    #[test]
    fn changes_override_pages() {
        let mut snapshot = first_page(WatchScope::All);
        // The second page is read at revision 7, after these changes and before the next change.
        for (revision, event) in [
            (5, Event::Left(agent("b"))),
            (6, Event::Left(agent("a"))),
            (7, Event::Joined(agent("y"))),
        ] {
            snapshot.apply(&change(revision, event)).unwrap();
        }
        snapshot.add(vec![agent("x"), agent("y")]);
        for (revision, event) in [
            (8, Event::Expired(agent("x"))),
            (9, Event::Joined(agent("c"))),
            (10, Event::Left(agent("c"))),
            (11, Event::Joined(agent("a"))),
        ] {
            snapshot.apply(&change(revision, event)).unwrap();
        }
        assert_eq!(snapshot.position, at(11));
        assert_eq!(names(snapshot), ["a", "b", "y"]);
    }

    #[test]
    fn changes_outside_the_scope_only_advance_the_position() {
        let mut snapshot = first_page(WatchScope::name("a"));
        let other = change(6, Event::Joined(agent("other")));
        snapshot.apply(&other).unwrap();
        assert_eq!(snapshot.position, at(6));
        assert_eq!(names(snapshot), ["a", "b"]);
    }

    #[test]
    fn a_gap_makes_the_snapshot_stale() {
        let gap = change(7, Event::Joined(agent("c")));
        assert_eq!(first_page(WatchScope::All).apply(&gap), Err(Stale));
        let unknown = Change {
            position: at(6),
            event: None,
        };
        assert_eq!(first_page(WatchScope::All).apply(&unknown), Err(Stale));
    }

    #[tokio::test(start_paused = true)]
    async fn a_snapshot_waits_for_a_permit_but_not_forever() {
        let permits = Arc::new(Semaphore::new(1));
        // No server listens on this port, so reading fails immediately.
        let reader = || {
            let address = Address::parse("redis://127.0.0.1:1").unwrap();
            let limit = Duration::from_secs(1);
            let store = Store::new(&address, Keys::new(""), String::new(), limit, limit);
            SnapshotReader {
                store: Arc::new(store.unwrap()),
                permits: Arc::clone(&permits),
                changes: Sender::new(1),
                status: watch::Sender::default().subscribe(),
                catch_up_limit: limit,
            }
        };
        let permit = permits.acquire().await.unwrap();
        let mut waiting = Box::pin(reader().read(WatchScope::All));
        let early = timeout(MAX_PERMIT_WAIT / 2, &mut waiting).await;
        assert!(early.is_err());
        drop(permit);
        assert!(matches!(waiting.await, Err(SnapshotError::Registry(_))));

        let _permit = permits.acquire().await.unwrap();
        let start = Instant::now();
        let result = reader().read(WatchScope::All).await;
        assert!(matches!(result, Err(SnapshotError::Registry(_))));
        assert!(start.elapsed() >= MAX_PERMIT_WAIT);
        permits.close();
        let result = reader().read(WatchScope::All).await;
        assert!(matches!(result, Err(SnapshotError::Closed)));
    }

    #[tokio::test]
    async fn a_snapshot_catches_up_with_its_last_page() {
        let (sender, mut changes) = broadcast::channel(2);
        let mut snapshot = first_page(WatchScope::All);
        for revision in 6..=7 {
            let joined = Event::Joined(agent(&format!("agent {revision}")));
            sender.send(change(revision, joined)).unwrap();
        }
        snapshot.catch_up(&at(7), &mut changes).await.unwrap();
        assert_eq!(names(snapshot), ["a", "agent 6", "agent 7", "b"]);

        for revision in 6..=8 {
            let joined = Event::Joined(agent("c"));
            sender.send(change(revision, joined)).unwrap();
        }
        let lagged = first_page(WatchScope::All)
            .catch_up(&at(8), &mut changes)
            .await;
        assert_eq!(lagged, Err(Stale));
        let emptied = Position {
            epoch: "another".into(),
            revision: 5,
        };
        let other = first_page(WatchScope::All)
            .catch_up(&emptied, &mut changes)
            .await;
        assert_eq!(other, Err(Stale));
    }
}
