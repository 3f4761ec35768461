use std::{io, sync::Arc};

use agentwire_codec::{Body, ErrorCode, WireError};
use agentwire_registry::RegistryError;
use agentwire_transport::Error as TransportError;
use tokio::time::Instant;

use super::{
    Discovery, Missing, Visit,
    connector::timed_out,
    tried::{Came, Tried},
};
use crate::{
    client::{attempt::Failure, retry::Retries, target::Target},
    error::Phase,
};

/// One call's way from instance to instance.
#[derive(Debug)]
pub(in crate::client) struct Route {
    /// The client, which is at no endpoint.
    client: Target,
    discovery: Discovery,
    visit: Option<Visit>,
    tried: Tried,
    /// Why an instance could not be reached, of the last.
    refusal: Option<TransportError>,
    /// Who said that it is not the agent, and how.
    denial: Option<(Target, WireError)>,
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
    /// Those who are there are others.
    Denied(Target, WireError),
    TimedOut,
    Registry(Arc<RegistryError>),
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
            denial: None,
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
        tracing::debug!(endpoint = %visit.member().endpoint, "instance chosen");
        let make = || self.client.sibling(self.discovery.connector(&visit));
        let target = visit.member().target_or(make).clone();
        self.visit = Some(visit);
        Ok(target)
    }

    /// Until when to wait for a turn at the instance: if nobody has reached it, not to the end.
    pub(in crate::client) fn queue_until(&self, deadline: Instant) -> Instant {
        match &self.visit {
            Some(visit) if !visit.record().is_reached() => self.discovery.try_until(deadline),
            _ => deadline,
        }
    }

    /// Until when to wait for a connection to the instance.
    pub(in crate::client) fn connect_until(&self, deadline: Instant) -> Instant {
        self.discovery.try_until(deadline)
    }

    /// True if the instance has failed since it was chosen, so that there is no use in connecting to it.
    pub(in crate::client) fn is_outdated(&self) -> bool {
        self.visit.as_ref().is_some_and(Visit::is_outdated)
    }

    /// Notes that the instance answered.
    pub(in crate::client) fn answered(&self) {
        if let Some(visit) = &self.visit {
            self.discovery.answered(visit);
        }
    }

    /// Notes what came of an attempt. `None` if the request was not worked on, and another instance is to be tried.
    pub(in crate::client) fn judge(
        &mut self,
        attempt: Result<Body, Failure>,
        deadline: Instant,
    ) -> Option<Result<Body, Failure>> {
        let Some(visit) = &self.visit else {
            return Some(attempt);
        };
        let member = visit.member();
        let came = match attempt {
            // Somebody else is at its endpoint by now, who did nothing.
            Ok(Body::Error(error)) if is_denial(&error, &self.client.config().name) => {
                self.discovery.failed(visit);
                let target = member.target().unwrap_or(&self.client);
                self.denial = Some((target.clone(), error));
                Came::NoGood
            }
            Err(Failure::Connect(error)) => {
                let may_pass = Retries::is_worth_another(&error);
                self.refusal = Some(error);
                match may_pass {
                    true => Came::Unreached,
                    false => Came::NoGood,
                }
            }
            Err(Failure::Unsent(error)) => {
                let is_outdated = visit.is_outdated();
                if !is_outdated || self.refusal.is_none() {
                    self.refusal = Some(lost(member.endpoint.clone(), error));
                }
                // Once, a connection may have been about to end.
                if !is_outdated && self.tried.add(member.id, Came::Reached) {
                    return None;
                }
                self.discovery.failed(visit);
                Came::Unreached
            }
            // The instance has left while the call waited for a connection to it.
            Err(Failure::Closed { sent: false }) if !self.client.closed().is_cancelled() => {
                Came::NoGood
            }
            // That was the time of this instance, not of the call.
            // Whether it hangs is for the connector to say, which knows for how long it has been tried.
            Err(Failure::TimedOut(Phase::Queueing | Phase::Connecting))
                if Instant::now() < deadline =>
            {
                self.refusal = Some(timed_out(&member.endpoint));
                Came::Unreached
            }
            settled => {
                match &settled {
                    Ok(_) => self.discovery.answered(visit),
                    Err(Failure::Broken(_)) => self.discovery.broke(visit),
                    Err(_) => {}
                }
                self.tried.add(member.id, Came::Reached);
                return Some(settled);
            }
        };
        self.tried.add(member.id, came);
        None
    }

    /// True if the request can go to an instance that it has not been at.
    pub(in crate::client) fn has_another(&self) -> bool {
        self.discovery.has_another(&self.tried)
    }

    fn lost(&mut self, missing: Missing) -> Lost {
        match missing {
            Missing::Unknown => Lost::Unknown,
            Missing::Unreachable => match (self.refusal.take(), self.denial.take()) {
                (None, Some((target, error))) => Lost::Denied(target, error),
                (source, _) => Lost::Unreachable {
                    instances: self.discovery.known(),
                    source,
                },
            },
            Missing::TimedOut => Lost::TimedOut,
            Missing::Registry(error) => Lost::Registry(error),
        }
    }
}

/// True if a server says that it has no agent of that name (PROTOCOL 7.3). An agent that worked on the request may fail
/// with the same code.
fn is_denial(error: &WireError, name: &str) -> bool {
    let denied = error.details.get("agent_name");
    error.code == ErrorCode::AGENT_NOT_FOUND
        && denied.and_then(|denied| denied.as_str()) == Some(name)
        && error.details.contains_key("available")
}

/// The connection was gone before anything left.
fn lost(endpoint: agentwire_transport::Endpoint, source: io::Error) -> TransportError {
    TransportError::Connect { endpoint, source }
}
