//! Routes each attempt of a call to a channel.
//!
//! A client has a [`Destination`]; each of its calls has a [`Router`]. At a fixed endpoint there is
//! nothing to choose. For a discovered agent, the decisions are pure and take the time as an
//! argument: `cache` over `instances`, each with its `health`, chosen by `balance`. `state` puts a
//! lock around them, `tasks` feed them from the registry, a `connector` for each instance reports
//! whether it can be reached, and `selection` follows one call through the instances and reports
//! the outcomes of its attempts.

mod balance;
mod cache;
mod connector;
mod discovery;
mod health;
mod history;
mod instance;
mod instances;
mod lookups;
mod selection;
mod state;
mod tasks;
mod verdict;

use std::sync::Arc;

use agentwire_codec::Body;
use agentwire_transport::Endpoint;
use tokio::time::Instant;

pub use self::balance::Balance;
use self::selection::Selection;
pub(super) use self::{discovery::Discovery, selection::NoRoute, verdict::Verdict};
use super::{
    channel::{Channel, deadlines::Deadlines, failure::Failure},
    shared::Client,
};

/// The destination of the calls of a client.
#[derive(Debug)]
pub(super) enum Destination {
    /// To one endpoint.
    Fixed(Channel),
    /// To the instances of an agent, as a registry lists them.
    Discovered(Discovery),
}

/// Routes the attempts of one call.
#[derive(Debug)]
pub(super) enum Router {
    Fixed(Channel),
    /// Boxed, so that calls to a fixed endpoint do not carry its state.
    Discovered(Box<Selection>),
}

/// The channel of one attempt, and how long its steps may take.
#[derive(Debug)]
pub(super) struct Route<'a> {
    pub(super) channel: &'a Channel,
    pub(super) deadlines: Deadlines<'a>,
}

impl Destination {
    /// The fixed endpoint; `None` for a discovered agent.
    pub(super) fn endpoint(&self) -> Option<&Endpoint> {
        match self {
            Self::Fixed(channel) => Some(channel.endpoint()),
            Self::Discovered(_) => None,
        }
    }

    /// Returns the router of a new call. `again` says whether the call may try an instance again
    /// that it could not reach.
    pub(super) fn router(&self, client: &Arc<Client>, again: bool) -> Router {
        match self {
            Self::Fixed(channel) => Router::Fixed(channel.clone()),
            Self::Discovered(discovery) => {
                let selection = Selection::new(Arc::clone(client), discovery.clone(), again);
                Router::Discovered(Box::new(selection))
            }
        }
    }

    /// Returns how many open connections no call uses.
    pub(super) fn idle(&self) -> usize {
        match self {
            Self::Fixed(channel) => channel.idle(),
            Self::Discovered(discovery) => discovery.idle(),
        }
    }

    /// Accepts no more calls, and closes each connection once its calls have ended.
    pub(super) fn drain(&self) {
        match self {
            Self::Fixed(channel) => channel.drain(),
            Self::Discovered(discovery) => discovery.close(),
        }
    }
}

impl Router {
    /// Chooses the channel of the next attempt.
    pub(super) async fn next(
        &mut self,
        client: &Client,
        deadline: Instant,
    ) -> Result<Route<'_>, NoRoute> {
        let deadlines = Deadlines::new(deadline, client.config.connect_timeout);
        match self {
            Self::Fixed(channel) => Ok(Route { channel, deadlines }),
            Self::Discovered(selection) => {
                let (guard, channel) = Box::pin(selection.choose(deadline)).await?;
                let deadlines = deadlines.for_candidate(guard);
                Ok(Route { channel, deadlines })
            }
        }
    }

    /// The endpoint of the current attempt; `None` if no instance has been chosen.
    pub(super) fn endpoint(&self) -> Option<&Endpoint> {
        match self {
            Self::Fixed(channel) => Some(channel.endpoint()),
            Self::Discovered(selection) => selection.endpoint(),
        }
    }

    /// Records that the current attempt was answered.
    pub(super) fn answered(&self) {
        if let Self::Discovered(selection) = self {
            selection.answered();
        }
    }

    /// Judges the result of the current attempt. The verdict is to try again if the request was not
    /// processed and another instance may process it.
    pub(super) fn report(
        &mut self,
        attempt: Result<Body, Failure>,
        deadline: Instant,
    ) -> Verdict<Result<Body, Failure>> {
        match self {
            Self::Fixed(_) => Verdict::Settled(attempt),
            Self::Discovered(selection) => selection.report(attempt, deadline),
        }
    }

    /// Returns whether an endpoint is available that the call has not tried.
    pub(super) fn has_another(&self) -> bool {
        match self {
            Self::Fixed(_) => false,
            Self::Discovered(selection) => selection.has_another(),
        }
    }
}
