//! The instances that one call selects for its attempts.

use std::{io, sync::Arc};

use agentwire_codec::{Body, ErrorCode, WireError};
use agentwire_registry::RegistryError;
use agentwire_transport::{Endpoint, Error as TransportError};
use tokio::time::Instant;

use super::{
    discovery::{Discovery, NoInstance},
    health::Outcome,
    history::{AttemptHistory, AttemptOutcome},
    instance::InFlightGuard,
    verdict::Verdict,
};
use crate::{
    client::{
        channel::{
            Channel,
            deadlines::Candidate,
            failure::{Failure, connect_timed_out, is_transient},
        },
        shared::Client,
    },
    error::Phase,
};

/// Chooses an instance for each attempt of a call.
#[derive(Debug)]
pub(in crate::client) struct Selection {
    client: Arc<Client>,
    discovery: Discovery,
    /// The instance of the current attempt, and its channel.
    current: Option<(InFlightGuard, Channel)>,
    history: AttemptHistory,
    /// Why the last unreachable instance could not be reached.
    refusal: Option<TransportError>,
    /// The last endpoint that hosts a different agent, and its answer.
    denial: Option<(Endpoint, WireError)>,
    /// Whether the call may try an instance again that it could not reach.
    again: bool,
}

/// Why there is no instance, or no further instance, for a call.
#[derive(Debug)]
pub(in crate::client) enum NoRoute {
    /// The client is closed.
    Closed,
    /// The registry lists no instance.
    Unknown,
    /// None of the instances can be reached.
    Unreachable {
        instances: usize,
        source: Option<TransportError>,
    },
    /// Every reachable instance hosts a different agent. Holds the last answer.
    Denied(Endpoint, WireError),
    /// No instance is known, and the deadline has passed.
    TimedOut,
    /// No instance is known, and the lookup failed.
    Registry(RegistryError),
}

impl Selection {
    pub(super) fn new(client: Arc<Client>, discovery: Discovery, again: bool) -> Self {
        Self {
            client,
            discovery,
            current: None,
            history: AttemptHistory::default(),
            refusal: None,
            denial: None,
            again,
        }
    }

    /// Chooses the instance for the next attempt.
    pub(super) async fn choose(
        &mut self,
        deadline: Instant,
    ) -> Result<&(InFlightGuard, Channel), NoRoute> {
        // The call is no longer in flight to the previous instance.
        self.current = None;
        if self.client.closed.is_cancelled() {
            return Err(NoRoute::Closed);
        }
        let chosen = tokio::select! {
            biased;
            () = self.client.closed.cancelled() => return Err(NoRoute::Closed),
            chosen = self.discovery.choose(&self.history, self.again, deadline) => chosen,
        };
        let guard = chosen.map_err(|reason| self.no_route(reason))?;
        tracing::debug!(endpoint = %guard.instance().endpoint, "instance chosen");
        let make = || Channel::new(&self.client, self.discovery.connector(&guard));
        let channel = guard.instance().channel_or_init(make).clone();
        Ok(self.current.insert((guard, channel)))
    }

    /// Returns the endpoint of the last chosen instance.
    pub(super) fn endpoint(&self) -> Option<&Endpoint> {
        let (guard, _) = self.current.as_ref()?;
        Some(&guard.instance().endpoint)
    }

    /// Records that the instance answered.
    pub(super) fn answered(&self) {
        if let Some((guard, _)) = &self.current {
            self.discovery.report(guard, Outcome::Answered);
        }
    }

    /// Judges the result of an attempt, and decides whether the call goes to another instance,
    /// because its request was not processed.
    pub(super) fn report(
        &mut self,
        attempt: Result<Body, Failure>,
        deadline: Instant,
    ) -> Verdict<Result<Body, Failure>> {
        let Some((guard, _)) = &self.current else {
            return Verdict::Settled(attempt);
        };
        let instance = guard.instance();
        let outcome = match attempt {
            // A server of other agents has taken over the endpoint. It has not dispatched the
            // request.
            Ok(Body::Error(error)) if is_denial(&error, &self.client.config.name) => {
                self.discovery.report(guard, Outcome::Failed);
                self.denial = Some((instance.endpoint.clone(), error));
                AttemptOutcome::Unusable
            }
            // The connector has reported the outcome.
            Err(Failure::Connect(error)) => {
                let outcome = if is_transient(&error) {
                    AttemptOutcome::Unreachable
                } else {
                    AttemptOutcome::Unusable
                };
                self.refusal = Some(error);
                outcome
            }
            Err(Failure::Unsent(error)) => {
                let has_failed = guard.has_failed();
                if !has_failed || self.refusal.is_none() {
                    self.refusal = Some(connection_lost(&instance.endpoint, error));
                }
                // The first time, the connection may have expired at this moment.
                if !has_failed && self.history.add(instance.id, AttemptOutcome::Reached) {
                    return Verdict::TryAgain;
                }
                self.discovery.report(guard, Outcome::Failed);
                AttemptOutcome::Unreachable
            }
            // The instance was removed while the call waited for a connection to it.
            Err(Failure::Closed { sent: false }) if !self.client.closed.is_cancelled() => {
                AttemptOutcome::Unusable
            }
            // The time share of this instance is over, but not that of the call. Whether the
            // instance hangs is reported by its connector, which knows how long it has tried.
            Err(Failure::TimedOut(Phase::Queueing | Phase::Connecting))
                if Instant::now() < deadline =>
            {
                self.refusal = Some(connect_timed_out(&instance.endpoint));
                AttemptOutcome::Unreachable
            }
            settled => {
                match &settled {
                    Ok(_) => self.discovery.report(guard, Outcome::Answered),
                    Err(Failure::Broken(_)) => self.discovery.report(guard, Outcome::Disconnected),
                    Err(_) => {}
                }
                self.history.add(instance.id, AttemptOutcome::Reached);
                return Verdict::Settled(settled);
            }
        };
        self.history.add(instance.id, outcome);
        Verdict::TryAgain
    }

    /// Returns whether an instance is available that the call has not tried.
    pub(super) fn has_another(&self) -> bool {
        self.discovery.has_another(&self.history)
    }

    fn no_route(&mut self, reason: NoInstance) -> NoRoute {
        match reason {
            NoInstance::Unknown => NoRoute::Unknown,
            NoInstance::Unreachable => match (self.refusal.take(), self.denial.take()) {
                (None, Some((endpoint, error))) => NoRoute::Denied(endpoint, error),
                (source, _) => NoRoute::Unreachable {
                    instances: self.discovery.known(),
                    source,
                },
            },
            NoInstance::TimedOut => NoRoute::TimedOut,
            NoInstance::Registry(error) => NoRoute::Registry(error),
        }
    }
}

/// Returns whether a server says that it has no agent of that name (PROTOCOL 7.3). An agent that
/// worked on the request may fail with the same code, but without the detail `available`.
fn is_denial(error: &WireError, name: &str) -> bool {
    let denied = error.details.get("agent_name");
    error.code == ErrorCode::AGENT_NOT_FOUND
        && denied.and_then(|denied| denied.as_str()) == Some(name)
        && error.details.contains_key("available")
}

/// The connection was gone before the request was written.
fn connection_lost(endpoint: &Endpoint, source: io::Error) -> TransportError {
    TransportError::Connect {
        endpoint: endpoint.clone(),
        source,
    }
}
