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
    position::{Position, Step},
    status::Status,
    store::{Reader, Store},
};
use crate::{Event, Registration, RegistryError, WatchScope};

/// All that is registered at one moment, put together from pages that were read one after the other and what
/// happened meanwhile.
#[derive(Debug)]
pub(super) struct Snapshot {
    position: Position,
    scope: WatchScope,
    read: BTreeMap<String, Arc<Registration>>,
    /// What became of those to whom something happened since the first page was read. It is newer than any page, or
    /// as new: a page may have been read before or after it.
    changed: HashMap<String, Option<Arc<Registration>>>,
}

/// Something was missed, so that it has to begin anew.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Missed;

/// Takes snapshots. It keeps nothing of a registry alive but the way to Redis.
pub(super) struct Snapshots {
    pub(super) store: Arc<Store>,
    /// Those who watch take them one after the other. Closed when the registry ends.
    pub(super) turns: Arc<Semaphore>,
    pub(super) changes: Sender<Change>,
    pub(super) status: watch::Receiver<Status>,
    /// How long it may take until what a page shows has been told.
    pub(super) limit: Duration,
}

/// What came of it.
pub(super) struct Taken {
    pub(super) outcome: Result<Result<Snapshot, Missed>, RegistryError>,
    /// The subscription that it belongs to.
    pub(super) subscriptions: u64,
    /// What happens after it, and some of what happened before.
    pub(super) changes: Receiver<Change>,
}

/// How long to wait for a turn at most. Others may have theirs in a runtime that nobody drives.
const LONGEST_TURN: Duration = Duration::from_secs(60);

impl Snapshots {
    /// Takes one; `None` if the registry has ended.
    pub(super) async fn take(self, scope: WatchScope) -> Option<Taken> {
        let turn = timeout(LONGEST_TURN, self.turns.acquire()).await;
        let _turn = turn.map_or(Some(None), |turn| turn.ok().map(Some))?;
        let subscriptions = self.status.borrow().subscriptions;
        // What came before has no place after it.
        let mut changes = self.changes.subscribe();
        let outcome = Snapshot::take(&self.store, &scope, &mut changes, self.limit).await;
        Some(Taken {
            outcome,
            subscriptions,
            changes,
        })
    }
}

impl Snapshot {
    /// `changes` must come in already; what it gives out afterwards follows the snapshot.
    async fn take(
        store: &Store,
        scope: &WatchScope,
        changes: &mut Receiver<Change>,
        limit: Duration,
    ) -> Result<Result<Self, Missed>, RegistryError> {
        let first = store.page(Range::scope(scope)?, Reader::Watch).await?;
        let mut snapshot = Self::new(first.position, scope.clone());
        let mut end = snapshot.position.clone();
        snapshot.add(first.entries);
        let mut next = first.next;
        while let Some(range) = next {
            let page = store.page(range, Reader::Watch).await?;
            snapshot.add(page.entries);
            next = page.next;
            end = page.position;
            // Or the buffer would have to hold all that happens until the last page.
            loop {
                match changes.try_recv() {
                    Ok(change) => {
                        if snapshot.apply(&change).is_err() {
                            return Ok(Err(Missed));
                        }
                    }
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Lagged(_) | TryRecvError::Closed) => return Ok(Err(Missed)),
                }
            }
        }
        let caught_up = timeout(limit, snapshot.catch_up(&end, changes)).await;
        Ok(caught_up.unwrap_or(Err(Missed)).map(|()| snapshot))
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

    /// Waits for all that the last page may show.
    async fn catch_up(
        &mut self,
        end: &Position,
        changes: &mut Receiver<Change>,
    ) -> Result<(), Missed> {
        if end.epoch != self.position.epoch {
            return Err(Missed);
        }
        while self.position.revision < end.revision {
            match changes.recv().await {
                Ok(change) => self.apply(&change)?,
                Err(RecvError::Lagged(_) | RecvError::Closed) => return Err(Missed),
            }
        }
        Ok(())
    }

    fn apply(&mut self, change: &Change) -> Result<(), Missed> {
        match self.position.follow(&change.position) {
            Step::Old => return Ok(()),
            Step::Next => {}
            Step::Gap => return Err(Missed),
        }
        let event = change.event.as_ref().ok_or(Missed)?;
        if let Some(registration) = event.registration().filter(|it| self.scope.contains(it)) {
            let is_there = matches!(event, Event::Joined(_) | Event::Updated(_));
            let becomes = is_there.then(|| Arc::clone(registration));
            self.changed.insert(id_of(registration), becomes);
        }
        Ok(())
    }

    pub(super) fn epoch(&self) -> &Arc<str> {
        &self.position.epoch
    }

    /// Where it stands, and what is registered there, in any order.
    pub(super) fn into_parts(mut self) -> (Position, Vec<Arc<Registration>>) {
        for (id, becomes) in self.changed {
            match becomes {
                Some(registration) => self.read.insert(id, registration),
                None => self.read.remove(&id),
            };
        }
        (self.position, self.read.into_values().collect())
    }
}

#[cfg(test)]
mod tests {
    use tokio::{sync::broadcast, time::Instant};

    use super::{super::address::Address, *};

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

    /// The first page was read at revision 5 and shows `a` and `b`.
    fn begun(scope: WatchScope) -> Snapshot {
        let mut snapshot = Snapshot::new(at(5), scope);
        snapshot.add(vec![agent("a"), agent("b")]);
        snapshot
    }

    #[test]
    fn what_happened_counts_more_than_what_was_read() {
        let mut snapshot = begun(WatchScope::All);
        // The second page was read between the two: at revision 7.
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
    fn others_than_those_watched_only_count() {
        let mut snapshot = begun(WatchScope::name("a"));
        let other = change(6, Event::Joined(agent("other")));
        snapshot.apply(&other).unwrap();
        assert_eq!(snapshot.position, at(6));
        assert_eq!(names(snapshot), ["a", "b"]);
    }

    #[test]
    fn a_gap_is_noticed() {
        let gap = change(7, Event::Joined(agent("c")));
        assert_eq!(begun(WatchScope::All).apply(&gap), Err(Missed));
        let unknown = Change {
            position: at(6),
            event: None,
        };
        assert_eq!(begun(WatchScope::All).apply(&unknown), Err(Missed));
    }

    #[tokio::test(start_paused = true)]
    async fn they_are_taken_in_turn_but_not_waited_for_for_ever() {
        let turns = Arc::new(Semaphore::new(1));
        // Nobody is there, which is told in no time.
        let snapshots = || {
            let address = Address::parse("redis://127.0.0.1:1").unwrap();
            let limit = Duration::from_secs(1);
            let store = Store::new(&address, String::new(), String::new(), limit);
            Snapshots {
                store: Arc::new(store.unwrap()),
                turns: Arc::clone(&turns),
                changes: Sender::new(1),
                status: watch::Sender::default().subscribe(),
                limit,
            }
        };
        let turn = turns.acquire().await.unwrap();
        let mut waiting = Box::pin(snapshots().take(WatchScope::All));
        let early = timeout(LONGEST_TURN / 2, &mut waiting).await;
        assert!(early.is_err());
        drop(turn);
        assert!(waiting.await.unwrap().outcome.is_err());

        let _kept = turns.acquire().await.unwrap();
        let start = Instant::now();
        assert!(snapshots().take(WatchScope::All).await.is_some());
        assert!(start.elapsed() >= LONGEST_TURN);
        turns.close();
        assert!(snapshots().take(WatchScope::All).await.is_none());
    }

    #[tokio::test]
    async fn it_waits_for_what_the_last_page_may_show() {
        let (sender, mut changes) = broadcast::channel(2);
        let mut snapshot = begun(WatchScope::All);
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
        let lagged = begun(WatchScope::All).catch_up(&at(8), &mut changes).await;
        assert_eq!(lagged, Err(Missed));
        let emptied = Position {
            epoch: "another".into(),
            revision: 5,
        };
        let other = begun(WatchScope::All)
            .catch_up(&emptied, &mut changes)
            .await;
        assert_eq!(other, Err(Missed));
    }
}
