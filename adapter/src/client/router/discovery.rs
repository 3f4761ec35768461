//! Discovers the instances of one agent in a registry, and chooses an instance for each attempt.

use std::{sync::Arc, time::Duration};

use agentwire_registry::{Query, RegistryError, SharedRegistry, backend::QueryExt};
use agentwire_transport::{Connector, internal::Backoff};
use fastrand::Rng;
use tokio::time::{Instant, timeout_at};

use super::{
    balance::{Balance, Balancer},
    cache::Cache,
    connector::InstanceConnector,
    health::Outcome,
    history::AttemptHistory,
    instance::{InFlightGuard, Instance},
    instances::{Choice, Instances},
    lookups::{LOOKUP_WAIT, LookupTicket},
    state::Shared,
    tasks,
};
use crate::{client::connect::ConnectOptions, observer::Observers};

/// A handle to the instances of an agent that a client has discovered. Clones share the same
/// instances.
///
/// The background tasks end when the discovery is closed or the last clone is dropped.
#[derive(Debug, Clone)]
pub(in crate::client) struct Discovery(Arc<Shared>);

/// The reason why no instance is available for a call.
#[derive(Debug)]
pub(super) enum NoInstance {
    /// No instance is registered.
    Unknown,
    /// No known instance can be reached.
    Unreachable,
    /// No instance is known, and the deadline has passed.
    TimedOut,
    /// No instance is known, and the lookup failed.
    Registry(RegistryError),
}

/// The next step of a call that needs an instance.
enum Step {
    Go(InFlightGuard),
    /// Choose again at the given time, or earlier if the instances change.
    Wait(Instant),
    Fail(NoInstance),
}

impl Discovery {
    /// Creates a discovery of the instances that match a query. The query must name the agent.
    pub(in crate::client) fn new(
        registry: SharedRegistry,
        query: Query,
        balance: Balance,
        backoff: Backoff,
        connect_timeout: Duration,
        connect: ConnectOptions,
        observers: Observers,
    ) -> Self {
        let balancer = Balancer::new(balance, Rng::new());
        let name = query.required_name().unwrap_or_default().to_owned();
        let instances = Instances::new(balancer, backoff, connect_timeout);
        let cache = Cache::new(query, instances);
        Self(Arc::new(Shared::new(
            registry,
            name,
            connect_timeout,
            connect,
            observers,
            cache,
        )))
    }

    /// Returns the number of open connections that no call uses.
    pub(super) fn idle(&self) -> usize {
        let state = self.0.lock();
        state
            .cache
            .instances
            .members
            .iter()
            .map(|one| one.idle())
            .sum()
    }

    /// Aborts all tasks, and stops accepting calls.
    pub(super) fn close(&self) {
        self.0.close();
    }

    /// Chooses an instance for a call. Instances that the call has not tried are preferred.
    ///
    /// If necessary, this method looks up the instances in the registry. If `again` is true and all
    /// instances are ejected, the method waits until an instance may be called again.
    pub(super) async fn choose(
        &self,
        history: &AttemptHistory,
        again: bool,
        deadline: Instant,
    ) -> Result<InFlightGuard, NoInstance> {
        let mut ticket = None;
        loop {
            // The notification is created before the choice, so that no change after the choice is
            // missed.
            let changed = self.0.changed.notified();
            match self.look(history, again, deadline, &mut ticket) {
                Step::Go(guard) => return Ok(guard),
                // Choose an instance again after a change or a timeout.
                Step::Wait(until) => drop(timeout_at(until.min(deadline), changed).await),
                Step::Fail(reason) => return Err(reason),
            }
        }
    }

    /// Decides the next step of a call without waiting. `ticket` identifies the lookup for which
    /// the call is waiting.
    fn look(
        &self,
        history: &AttemptHistory,
        again: bool,
        deadline: Instant,
        ticket: &mut Option<LookupTicket>,
    ) -> Step {
        let shared = &self.0;
        let now = Instant::now();
        let mut state = shared.lock();
        let state = &mut *state;
        tasks::follow(shared, state);
        let is_empty = state.cache.instances.members.is_empty(now);
        let result = ticket.and_then(|ticket| state.lookups.result(&ticket));
        if result.is_none() && !state.cache.is_trusted(now) {
            let ticket = match *ticket {
                Some(ticket) if state.lookups.is_under_way(now) => ticket,
                _ => *ticket.insert(tasks::look_up(shared, state, is_empty, deadline, now)),
            };
            if is_empty && now < deadline {
                // Choose again at intervals, because the runtime of the lookup may shut down.
                return Step::Wait(now + LOOKUP_WAIT);
            }
            if !is_empty && now < ticket.fallback_after {
                return Step::Wait(ticket.fallback_after);
            }
        }
        if is_empty {
            return Step::Fail(match result {
                Some(Ok(())) => NoInstance::Unknown,
                Some(Err(error)) => NoInstance::Registry(error),
                None => NoInstance::TimedOut,
            });
        }
        match state.cache.instances.choose(now, history, again) {
            Choice::Now(guard) => {
                tasks::probe(shared, state, now);
                if state.cache.is_silent(now) {
                    tasks::refresh(shared, state, LOOKUP_WAIT, now);
                }
                Step::Go(guard)
            }
            Choice::Wait(until) if now < deadline => {
                // All known instances are ejected, but new instances may have been registered.
                tasks::refresh(shared, state, LOOKUP_WAIT, now);
                *ticket = None;
                Step::Wait(until)
            }
            Choice::None if result.is_none() && now < deadline => {
                let look_up = || tasks::look_up(shared, state, false, deadline, now);
                let ticket = *ticket.get_or_insert_with(look_up);
                if now < ticket.fallback_after {
                    Step::Wait(ticket.fallback_after)
                } else {
                    Step::Fail(NoInstance::Unreachable)
                }
            }
            Choice::Wait(_) | Choice::None => Step::Fail(NoInstance::Unreachable),
        }
    }

    /// Applies the outcome of an attempt to call an instance.
    pub(super) fn report(&self, guard: &InFlightGuard, outcome: Outcome) {
        // An answer from a healthy instance has no effect, so the lock is not acquired.
        if outcome == Outcome::Answered && guard.health().has_answered() {
            return;
        }
        self.0.report(guard.instance().id, guard.epoch(), outcome);
    }

    /// Returns whether an instance is available that the call has not tried.
    pub(super) fn has_another(&self, history: &AttemptHistory) -> bool {
        let state = self.0.lock();
        state.cache.instances.has_another(Instant::now(), history)
    }

    /// Returns the number of known instances.
    pub(super) fn known(&self) -> usize {
        self.0.lock().cache.instances.members.len(Instant::now())
    }

    pub(super) fn connector(&self, guard: &InFlightGuard) -> Arc<dyn Connector> {
        let health = Arc::clone(guard.health());
        let instance: &Instance = guard.instance();
        Arc::new(InstanceConnector::new(instance, health, &self.0))
    }
}
