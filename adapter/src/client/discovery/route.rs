use agentwire_codec::Body;
use agentwire_registry::RegistryError;
use agentwire_transport::Error as TransportError;
use tokio::time::Instant;

use super::{Discovery, Missing, Tried, Visit};
use crate::client::{attempt::Failure, retry::Retries, target::Target};

/// One call's way from instance to instance.
#[derive(Debug)]
pub(in crate::client) struct Route {
    /// The client, which is at no endpoint.
    client: Target,
    discovery: Discovery,
    visit: Option<Visit>,
    tried: Tried,
    /// What connecting failed with last, and whether trying again may find it otherwise.
    refusal: Option<TransportError>,
    again: bool,
}

/// Why a call got to no instance, or to no more.
#[derive(Debug)]
pub(in crate::client) enum Lost {
    Closed,
    Unknown,
    Unreachable {
        instances: usize,
        source: Option<TransportError>,
    },
    TimedOut,
    Registry(RegistryError),
}

impl Route {
    pub(in crate::client) fn new(client: Target, discovery: Discovery) -> Self {
        let again = client.retry().connects_again();
        Self {
            client,
            discovery,
            visit: None,
            tried: Tried::default(),
            refusal: None,
            again,
        }
    }

    /// The client, which is at no endpoint.
    pub(in crate::client) fn client(&self) -> &Target {
        &self.client
    }

    /// Chooses the instance for the next attempt.
    pub(in crate::client) async fn choose(&mut self, deadline: Instant) -> Result<Target, Lost> {
        // It is not there any more.
        self.visit = None;
        if self.client.closed().is_cancelled() {
            return Err(Lost::Closed);
        }
        let chosen = tokio::select! {
            biased;
            () = self.client.closed().cancelled() => return Err(Lost::Closed),
            chosen = self.discovery.choose(&self.tried, self.again, deadline) => chosen,
        };
        let visit = chosen.map_err(|missing| self.lost(missing))?;
        let member = visit.member();
        tracing::debug!(endpoint = %member.endpoint, "instance chosen");
        let make = || self.client.sibling(self.discovery.connector(member));
        let target = member.target_or(make).clone();
        self.visit = Some(visit);
        Ok(target)
    }

    /// Notes what came of an attempt. `None` if the request did not leave, and another instance is to be tried.
    pub(in crate::client) fn judge(
        &mut self,
        attempt: Result<Body, Failure>,
    ) -> Option<Result<Body, Failure>> {
        let Some(visit) = &self.visit else {
            return Some(attempt);
        };
        let member = visit.member().id;
        match attempt {
            Err(Failure::Connect(error)) => {
                self.tried.add(member, true);
                self.again &= Retries::is_worth_another(&error);
                self.refusal = Some(error);
                None
            }
            Err(Failure::Unsent(_)) => {
                if !self.tried.add(member, false) {
                    // Its connections end as soon as they are made.
                    self.tried.add(member, true);
                    self.discovery.failed(member);
                }
                None
            }
            // The instance has left while the call waited for a connection to it.
            Err(Failure::Closed { sent: false }) if !self.client.closed().is_cancelled() => {
                self.tried.add(member, true);
                None
            }
            settled => {
                let is_reached = settled
                    .as_ref()
                    .map_or_else(|failure| !failure.is_unsent(), |_| true);
                if is_reached && visit.is_trial {
                    self.discovery.proved(member);
                }
                self.tried.add(member, false);
                Some(settled)
            }
        }
    }

    /// True if the request can go to an instance that it has not been at.
    pub(in crate::client) fn has_another(&self) -> bool {
        self.discovery.has_another(&self.tried)
    }

    fn lost(&mut self, missing: Missing) -> Lost {
        match missing {
            // It was known when the call began.
            Missing::Unknown if !self.tried.is_empty() => self.unreachable(),
            Missing::Unknown => Lost::Unknown,
            Missing::Unreachable => self.unreachable(),
            Missing::TimedOut => Lost::TimedOut,
            Missing::Registry(error) => Lost::Registry(error),
        }
    }

    fn unreachable(&mut self) -> Lost {
        Lost::Unreachable {
            instances: self.discovery.known(),
            source: self.refusal.take(),
        }
    }
}
