//! Chooses a channel for each attempt of a call.
//!
//! A client has a [`Destination`], and each of its calls has a [`Router`]. For a fixed endpoint,
//! the router always returns the same channel. For a discovered agent, the router chooses an
//! instance for each attempt.
//!
//! The logic that chooses an instance does not perform I/O, and takes the current time as an
//! argument. The module `cache` applies what the registry reports to the `members`, `instances`
//! chooses among them and tracks their `health`, and `balance` picks one. The module `state`
//! protects this logic with a lock, and `tasks` updates the cache from the registry. Each instance
//! has a `connector`, which reports whether the instance can be reached. Each call has a
//! `selection`, which reports the outcomes of the call's attempts.

mod balance;
mod cache;
mod choice;
mod connector;
mod discovery;
mod entry;
mod health;
mod history;
mod instance;
mod instances;
mod lookups;
mod members;
mod selection;
mod state;
mod tasks;
mod verdict;

use std::{sync::Arc, time::Duration};

use agentwire_codec::Body;
use agentwire_transport::{Endpoint, Error as TransportError};
use tokio::time::{Instant, sleep};

pub use self::balance::Balance;
use self::selection::Selection;
pub(super) use self::{discovery::Discovery, selection::NoRoute, verdict::Verdict};
use super::{
    channel::{
        Channel,
        deadlines::{ConnectWindow, Deadlines},
        failure::Failure,
    },
    shared::Client,
};

/// The destination of a client's calls.
#[derive(Debug)]
pub(super) enum Destination {
    /// One endpoint.
    Fixed(Channel),
    /// The registered instances of an agent.
    Discovered(Discovery),
}

/// Chooses the channel for each attempt of one call.
#[derive(Debug)]
pub(super) enum Router {
    Fixed {
        channel: Channel,
        window: ConnectWindow,
    },
    /// The state is boxed because calls to a fixed endpoint do not need to reserve memory for it.
    Discovered(Box<Selection>),
}

/// The channel of one attempt, and the deadlines of its steps.
#[derive(Debug)]
pub(super) struct Route<'a> {
    pub(super) channel: &'a Channel,
    pub(super) deadlines: Deadlines<'a>,
}

impl Destination {
    /// Returns the fixed endpoint, or `None` for a discovered agent.
    pub(super) fn endpoint(&self) -> Option<&Endpoint> {
        match self {
            Self::Fixed(channel) => Some(channel.endpoint()),
            Self::Discovered(_) => None,
        }
    }

    /// Returns the router of a new call. If `again` is true, the call may retry an unreachable
    /// instance.
    pub(super) fn router(&self, client: &Arc<Client>, again: bool) -> Router {
        match self {
            Self::Fixed(channel) => Router::Fixed {
                channel: channel.clone(),
                window: ConnectWindow::default(),
            },
            Self::Discovered(discovery) => {
                let selection = Selection::new(Arc::clone(client), discovery.clone(), again);
                Router::Discovered(Box::new(selection))
            }
        }
    }

    /// Returns the number of open connections that no call uses.
    pub(super) fn idle(&self) -> usize {
        match self {
            Self::Fixed(channel) => channel.idle(),
            Self::Discovered(discovery) => discovery.idle(),
        }
    }

    /// Stops accepting calls, and closes each connection once its calls have ended.
    pub(super) fn drain(&self) {
        match self {
            Self::Fixed(channel) => channel.drain(),
            Self::Discovered(discovery) => discovery.close(),
        }
    }
}

impl Router {
    /// Chooses the channel for the next attempt.
    pub(super) async fn next(
        &mut self,
        client: &Client,
        deadline: Instant,
    ) -> Result<Route<'_>, NoRoute> {
        let connect_timeout = client.config.connect_timeout;
        match self {
            Self::Fixed { channel, window } => {
                let outage = channel.outage();
                let deadlines = Deadlines::for_endpoint(deadline, connect_timeout, window, outage);
                Ok(Route { channel, deadlines })
            }
            Self::Discovered(selection) => {
                let (guard, channel) = Box::pin(selection.choose(deadline)).await?;
                let deadlines = Deadlines::for_candidate(deadline, connect_timeout, guard);
                Ok(Route { channel, deadlines })
            }
        }
    }

    /// Returns the deadline for connecting to a fixed endpoint, or `None` if the call is not
    /// connecting.
    pub(super) fn connect_until(&self) -> Option<Instant> {
        match self {
            Self::Fixed { window, .. } => window.end(),
            Self::Discovered(_) => None,
        }
    }

    /// Waits before the next connection attempt. The previous attempt failed with `error`.
    pub(super) async fn pause(&self, delay: Duration, error: &TransportError) {
        match self {
            Self::Fixed { channel, .. } => {
                channel
                    .outage()
                    .pause(channel.endpoint(), delay, error)
                    .await;
            }
            Self::Discovered(_) => sleep(delay).await,
        }
    }

    /// Returns the endpoint of the current attempt, or `None` if no instance has been chosen.
    pub(super) fn endpoint(&self) -> Option<&Endpoint> {
        match self {
            Self::Fixed { channel, .. } => Some(channel.endpoint()),
            Self::Discovered(selection) => selection.endpoint(),
        }
    }

    /// Records that the current attempt was answered.
    pub(super) fn answered(&self) {
        if let Self::Discovered(selection) = self {
            selection.answered();
        }
    }

    /// Decides whether the result of the current attempt settles the call. The call is not settled
    /// if the request was not processed and another attempt may succeed.
    pub(super) fn report(
        &mut self,
        attempt: Result<Body, Failure>,
        deadline: Instant,
    ) -> Verdict<Result<Body, Failure>> {
        match self {
            Self::Fixed { .. } => Verdict::Settled(attempt),
            Self::Discovered(selection) => selection.report(attempt, deadline),
        }
    }

    /// Returns whether an instance is available that the call has not tried.
    pub(super) fn has_another(&self) -> bool {
        match self {
            Self::Fixed { .. } => false,
            Self::Discovered(selection) => selection.has_another(),
        }
    }
}
