use std::{
    fmt,
    sync::{Arc, MutexGuard},
    time::Duration,
};

use agentwire_registry::{Event, Registration, RegistryError, SharedRegistry};
use agentwire_transport::{Connector, internal::Mutex};
use tokio::{sync::Notify, time::Instant};

use super::{
    cache::{AskedAfter, Cache},
    connector::InstanceConnector,
    follower::{follow, look_up},
    health::Since,
    lookups::{Lookups, Question},
    member::Member,
    task::Task,
};

/// What the calls, the connections and the tasks of one name share. The lock is held for moments only.
pub(super) struct Shared {
    pub(super) name: String,
    pub(super) registry: SharedRegistry,
    pub(super) connect_timeout: Duration,
    state: Mutex<State>,
    /// Something is better than it was: there is an instance more, or one is back, or the registry has answered.
    pub(super) changed: Notify,
}

/// The tasks in it end with it.
#[derive(Debug)]
pub(super) struct State {
    pub(super) cache: Cache,
    pub(super) lookups: Lookups,
    follower: Option<Task>,
    closed: bool,
}

impl Shared {
    pub(super) fn new(
        registry: SharedRegistry,
        name: String,
        connect_timeout: Duration,
        cache: Cache,
    ) -> Self {
        Self {
            name,
            registry,
            connect_timeout,
            state: Mutex::new(State {
                cache,
                lookups: Lookups::default(),
                follower: None,
                closed: false,
            }),
            changed: Notify::new(),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Has the registry watched, if it is not yet, or if whoever did has ended with its runtime.
    pub(super) fn follow(self: &Arc<Self>, state: &mut State) {
        let is_followed = (state.follower.as_ref()).is_some_and(|task| !task.has_ended());
        if is_followed || state.closed {
            return;
        }
        state.cache.lost_watch();
        let (registry, name) = (self.registry.clone(), self.name.clone());
        state.follower = Task::start(follow(Arc::downgrade(self), registry, name));
    }

    /// Has the registry asked, for a call that waits for the answer; `anew` if one to an older question will not do.
    pub(super) fn ask(
        self: &Arc<Self>,
        state: &mut State,
        anew: bool,
        deadline: Instant,
        now: Instant,
    ) -> Question {
        let is_under_way = state.lookups.is_under_way(now);
        if !is_under_way {
            self.begin_lookup(state, now);
        }
        let next = anew && is_under_way;
        state.lookups.question(next, deadline, now)
    }

    /// Has the registry asked, if it has not been for so long. Nobody waits for the answer.
    pub(super) fn ask_if_older(self: &Arc<Self>, state: &mut State, age: Duration, now: Instant) {
        if state.lookups.is_older_than(age, now) && !state.lookups.is_under_way(now) {
            self.begin_lookup(state, now);
        }
    }

    fn begin_lookup(self: &Arc<Self>, state: &mut State, now: Instant) {
        if state.closed {
            return;
        }
        let number = state.lookups.begin(now);
        let (registry, name) = (self.registry.clone(), self.name.clone());
        let task = Task::start(look_up(Arc::downgrade(self), registry, name, number));
        state.lookups.keep(task);
    }

    /// Takes in what the registry answered. If another answer is wanted, gives the number of the question.
    pub(super) fn looked_up(
        &self,
        number: u64,
        answer: Result<Vec<Arc<Registration>>, RegistryError>,
        asked: AskedAfter,
    ) -> Option<u64> {
        let now = Instant::now();
        let mut state = self.state();
        let (gone, failure) = match answer {
            Ok(found) => (state.cache.looked_up(&found, asked, now), None),
            Err(error) => {
                tracing::debug!(name = self.name, %error, "the registry does not say");
                (Vec::new(), Some(error))
            }
        };
        let is_failure = failure.is_some();
        if state.lookups.end(number, failure) && is_failure {
            state.cache.trust_for_now(now);
        }
        let is_another_wanted =
            state.lookups.is_another_wanted() && state.cache.instances.is_empty(now);
        let next = is_another_wanted.then(|| state.lookups.begin(now));
        drop(state);
        self.changed.notify_waiters();
        self.retire(&gone);
        next
    }

    /// Tries in a task of its own whether an instance is back that has been out for long enough, if there is one.
    pub(super) fn try_again(self: &Arc<Self>, state: &mut State, now: Instant) {
        if state.closed {
            return;
        }
        let Some((member, record)) = state.cache.instances.begin_trial(now) else {
            return;
        };
        let connector = InstanceConnector::new(&member, record, self);
        let trial = Task::start(async move {
            // How it went is told by the connector.
            drop(connector.connect().await);
        });
        if let Some(trial) = trial {
            state.cache.instances.keep_trial(member.id, trial);
        }
    }

    /// Takes in what the watch tells.
    pub(super) fn apply(&self, event: &Event) {
        let gone = self.state().cache.apply(event, Instant::now());
        self.changed.notify_waiters();
        self.retire(&gone);
    }

    /// Nobody watches, for now.
    pub(super) fn lost_watch(&self) {
        self.state().cache.lost_watch();
    }

    /// An instance could not be reached, or is no good.
    pub(super) fn failed(&self, member: u64, since: Since) {
        let now = Instant::now();
        let gone = self.state().cache.instances.failed(member, since, now);
        self.retire(gone.as_slice());
    }

    /// A connection to an instance ended before an answer.
    pub(super) fn broke(&self, member: u64, since: Since) {
        let now = Instant::now();
        let gone = self.state().cache.instances.broke(member, since, now);
        self.retire(gone.as_slice());
    }

    /// An attempt to reach an instance was given up.
    pub(super) fn give_up(&self, member: u64, since: Since) {
        let now = Instant::now();
        self.state().cache.instances.give_up(member, since, now);
        // Somebody else may try.
        self.changed.notify_waiters();
    }

    /// An instance was connected to.
    pub(super) fn reached(&self, member: u64) {
        let is_news = self.state().cache.instances.reached(member);
        if is_news {
            self.changed.notify_waiters();
        }
    }

    /// An instance answered.
    pub(super) fn proved(&self, member: u64) {
        let is_news = self.state().cache.instances.proved(member);
        if is_news {
            self.changed.notify_waiters();
        }
    }

    /// Closes the connections to instances that are gone, once their calls end. Not with the lock held: calls that
    /// wait for these connections are woken.
    fn retire(&self, gone: &[Arc<Member>]) {
        for member in gone {
            tracing::debug!(name = self.name, endpoint = %member.endpoint, "instance is gone");
            member.retire();
        }
    }

    /// Follows no more, and lets no more calls be made.
    pub(super) fn close(&self) {
        let members: Vec<_> = {
            let mut state = self.state();
            state.closed = true;
            state.follower = None;
            state.lookups.keep(None);
            state.cache.instances.end_trials();
            state.cache.instances.members().map(Arc::clone).collect()
        };
        for member in members {
            member.retire();
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
