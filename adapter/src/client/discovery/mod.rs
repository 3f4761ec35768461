//! Calling by name: which instances of an agent there are, and which of them a call goes to.
//!
//! What decides is pure and is told the time: [`Cache`] over [`Instances`], each with its [`Health`](health::Health),
//! chosen by a [`Balancer`]. What acts is around it: a follower watches the registry, a connector for each
//! instance tells how connecting went, and a [`Route`] is one call's way through.

mod balance;
mod cache;
mod connector;
mod follower;
mod health;
mod instances;
mod member;
mod route;
mod shared;
mod tried;

use std::{sync::Arc, time::Duration};

use agentwire_registry::{Registry, RegistryError, SharedRegistry};
use agentwire_transport::Connector;
use fastrand::Rng;
use tokio::time::{Instant, timeout_at};

pub use self::balance::Balance;
pub(super) use self::route::{Lost, Route};
use self::{
    balance::Balancer,
    cache::Cache,
    connector::InstanceConnector,
    instances::{Choice, Instances},
    member::{Member, Visit},
    shared::Shared,
    tried::Tried,
};
use crate::backoff::Backoff;

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
    Registry(RegistryError),
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
        let cache = Cache::new(Instances::new(balancer, backoff));
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

    /// An instance for a call that has been at those in `tried`; asks the registry if it has to, and waits for one to
    /// come back if the call may try `again`.
    async fn choose(
        &self,
        tried: &Tried,
        again: bool,
        deadline: Instant,
    ) -> Result<Visit, Missing> {
        loop {
            // Made before looking, so that no change after the look is missed.
            let changed = self.0.changed.notified();
            let now = Instant::now();
            let choice = {
                let mut state = self.0.state();
                self.0.follow(&mut state);
                state.cache.choose(now, tried, again)
            };
            match choice {
                Some(Choice::Now(visit)) => return Ok(visit),
                Some(Choice::Wait(until)) if now < deadline => {
                    // Whatever ended the wait, another look tells what has become of it.
                    let _ = timeout_at(until.min(deadline), changed).await;
                }
                Some(Choice::Wait(_) | Choice::Nobody) => return Err(Missing::Unreachable),
                None => tokio::select! {
                    biased;
                    () = changed => {}
                    looked_up = timeout_at(deadline, self.look_up()) => match looked_up {
                        Ok(looked_up) => looked_up?,
                        Err(_) => return Err(Missing::TimedOut),
                    },
                },
            }
        }
    }

    /// Asks the registry for the instances, one call at a time.
    async fn look_up(&self) -> Result<(), Missing> {
        // It is never closed.
        let _permit = self.0.asking.acquire().await;
        let asked = {
            let state = self.0.state();
            // Those who waited have the answer to whoever came first.
            if state.cache.is_trusted(Instant::now()) {
                return Ok(());
            }
            state.cache.ask()
        };
        let looked_up = self.0.registry.lookup(&self.0.name).await;
        let now = Instant::now();
        let mut state = self.0.state();
        match looked_up {
            Ok(found) => {
                let gone = state.cache.looked_up(&found, asked, now);
                let is_known = !found.is_empty() || state.cache.is_trusted(now);
                drop(state);
                self.0.retire(&gone);
                is_known.then_some(()).ok_or(Missing::Unknown)
            }
            Err(error) if state.cache.instances.is_empty() => Err(Missing::Registry(error)),
            Err(error) => {
                tracing::debug!(name = self.0.name, %error, "the registry does not say; going by what was known");
                state.cache.trust_for_now(now);
                Ok(())
            }
        }
    }

    /// Notes that a call got no connection that worked.
    fn failed(&self, member: u64) {
        self.0.failed(member);
    }

    /// Notes that an instance was reached.
    fn proved(&self, member: u64) {
        self.0.proved(member);
    }

    /// True if there is another instance for a call that has been at those in `tried`.
    fn has_another(&self, tried: &Tried) -> bool {
        let state = self.0.state();
        state.cache.instances.has_another(Instant::now(), tried)
    }

    /// How many instances are known.
    fn known(&self) -> usize {
        self.0.state().cache.instances.len()
    }

    fn connector(&self, member: &Member) -> Arc<dyn Connector> {
        Arc::new(InstanceConnector::new(member, &self.0))
    }
}
