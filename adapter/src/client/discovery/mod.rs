//! Calling by name: which instances of an agent there are, and which of them a call goes to.
//!
//! What decides is pure and is told the time: [`Cache`] over [`Instances`], each with its [`Health`](health::Health),
//! chosen by a [`Balancer`]. What acts is around it: tasks of the client watch the registry, ask it, and try whether
//! an instance is back; a connector for each instance tells how connecting went, and a [`Route`] is one call's way
//! through, which tells what its attempts came to.

mod balance;
mod cache;
mod connector;
mod follower;
mod health;
mod instances;
mod lookups;
mod member;
mod route;
mod shared;
mod task;
mod tried;

use std::{sync::Arc, time::Duration};

use agentwire_registry::{RegistryError, SharedRegistry};
use agentwire_transport::{Connector, internal::Backoff};
use fastrand::Rng;
use tokio::time::{Instant, timeout_at};

pub use self::balance::Balance;
pub(super) use self::route::{Lost, Route};
use self::{
    balance::Balancer,
    cache::Cache,
    connector::InstanceConnector,
    instances::{Choice, Instances},
    lookups::{PATIENCE, Question},
    member::Visit,
    shared::Shared,
    tried::Tried,
};

/// Finds the instances of one agent in a registry, and chooses among them.
///
/// Its follower ends when it is dropped, and when it is closed.
#[derive(Debug, Clone)]
pub(super) struct Discovery(Arc<Shared>);

/// Why there is no instance for a call.
#[derive(Debug)]
enum Missing {
    /// The registry says that there is none.
    Unknown,
    /// There are some, and none can be reached.
    Unreachable,
    /// Nothing is known yet, and the time is up.
    TimedOut,
    /// Nothing is known, and the registry does not say.
    Registry(Arc<RegistryError>),
}

/// What a call that wants an instance is to do.
enum Step {
    Go(Visit),
    /// Look again then, or when something has changed.
    Wait(Instant),
    Lost(Missing),
}

impl Discovery {
    pub(super) fn new(
        registry: SharedRegistry,
        name: String,
        balance: Balance,
        backoff: Backoff,
        connect_timeout: Duration,
    ) -> Self {
        let balancer = Balancer::new(balance, Rng::new());
        let cache = Cache::new(Instances::new(balancer, backoff, connect_timeout));
        Self(Arc::new(Shared::new(
            registry,
            name,
            connect_timeout,
            cache,
        )))
    }

    /// How many connections wait for a call.
    pub(super) fn idle(&self) -> usize {
        let state = self.0.state();
        let targets = (state.cache.instances.members()).filter_map(|member| member.target());
        targets.map(super::target::Target::idle).sum()
    }

    /// Follows no more, and lets no more calls be made.
    pub(super) fn close(&self) {
        self.0.close();
    }

    /// An instance for a call that has been at those in `tried`; has the registry asked if it has to, and waits for one
    /// to come back if the call may try `again`.
    async fn choose(
        &self,
        tried: &Tried,
        again: bool,
        deadline: Instant,
    ) -> Result<Visit, Missing> {
        let mut question = None;
        loop {
            // Made before looking, so that no change after the look is missed.
            let changed = self.0.changed.notified();
            match self.look(tried, again, deadline, &mut question) {
                Step::Go(visit) => return Ok(visit),
                // Whatever ends the wait, another look tells what has become of it.
                Step::Wait(until) => drop(timeout_at(until.min(deadline), changed).await),
                Step::Lost(missing) => return Err(missing),
            }
        }
    }

    /// Never waits. What the call has asked the registry is kept in `question`.
    fn look(
        &self,
        tried: &Tried,
        again: bool,
        deadline: Instant,
        question: &mut Option<Question>,
    ) -> Step {
        let shared = &self.0;
        let now = Instant::now();
        let mut state = shared.state();
        let state = &mut *state;
        shared.follow(state);
        let is_empty = state.cache.instances.is_empty(now);
        let answer = question.and_then(|question| state.lookups.answer(&question));
        if answer.is_none() && !state.cache.is_trusted(now) {
            let asked = match *question {
                Some(asked) if state.lookups.is_under_way(now) => asked,
                _ => *question.insert(shared.ask(state, is_empty, deadline, now)),
            };
            if is_empty && now < deadline {
                // Not for ever: whoever asks may be in a runtime that ends.
                return Step::Wait(now + PATIENCE);
            }
            if !is_empty && now < asked.go_by {
                return Step::Wait(asked.go_by);
            }
        }
        if is_empty {
            return Step::Lost(match answer {
                Some(Ok(())) => Missing::Unknown,
                Some(Err(error)) => Missing::Registry(error),
                None => Missing::TimedOut,
            });
        }
        match state.cache.instances.choose(now, tried, again) {
            Choice::Now(visit) => {
                shared.try_again(state, now);
                if state.cache.is_silent(now) {
                    shared.ask_if_older(state, PATIENCE, now);
                }
                Step::Go(visit)
            }
            Choice::Wait(until) if now < deadline => {
                // Those that are known are all out. Perhaps there are others by now.
                shared.ask_if_older(state, PATIENCE, now);
                *question = None;
                Step::Wait(until)
            }
            Choice::Nobody if answer.is_none() && now < deadline => {
                let asked =
                    *question.get_or_insert_with(|| shared.ask(state, false, deadline, now));
                match now < asked.go_by {
                    true => Step::Wait(asked.go_by),
                    false => Step::Lost(Missing::Unreachable),
                }
            }
            Choice::Wait(_) | Choice::Nobody => Step::Lost(Missing::Unreachable),
        }
    }

    /// Until when a call may try to reach an instance that has so long in all: a part of the time that is left, so that
    /// others can be tried.
    fn try_until(&self, deadline: Instant) -> Instant {
        let now = Instant::now();
        let third = deadline.saturating_duration_since(now) / 3;
        match third < SHORTEST {
            true => deadline,
            false => now + third.min(self.0.connect_timeout),
        }
    }

    /// Notes that an instance could not be reached, or is no good.
    fn failed(&self, visit: &Visit) {
        self.0.failed(visit.member().id, visit.since());
    }

    /// Notes that a connection to an instance ended before an answer.
    fn broke(&self, visit: &Visit) {
        self.0.broke(visit.member().id, visit.since());
    }

    /// Notes that an instance answered.
    fn answered(&self, visit: &Visit) {
        // That it does so once more is no news, and costs no lock.
        if !visit.record().is_proved() {
            self.0.proved(visit.member().id);
        }
    }

    /// True if there is another instance for a call that has been at those in `tried`.
    fn has_another(&self, tried: &Tried) -> bool {
        let state = self.0.state();
        state.cache.instances.has_another(Instant::now(), tried)
    }

    /// How many instances are known.
    fn known(&self) -> usize {
        self.0.state().cache.instances.len(Instant::now())
    }

    fn connector(&self, visit: &Visit) -> Arc<dyn Connector> {
        let record = Arc::clone(visit.record());
        Arc::new(InstanceConnector::new(visit.member(), record, &self.0))
    }
}

/// Time that is not worth being divided.
const SHORTEST: Duration = Duration::from_millis(1);
