//! Selects the instances for the attempts of one call.

use std::{io, sync::Arc};

use agentwire_codec::{Body, ErrorCode, WireError};
use agentwire_registry::RegistryError;
use agentwire_transport::{Endpoint, Error as TransportError, internal::Untrusted};
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
    /// The error of the last attempt to reach an instance.
    refusal: Option<TransportError>,
    /// The last tried endpoint that hosts a different agent, and its answer.
    denial: Option<(Endpoint, WireError)>,
    /// Whether the call may retry an unreachable instance.
    again: bool,
}

/// The reason why no instance is available for the next attempt of a call.
#[derive(Debug)]
pub(in crate::client) enum NoRoute {
    /// The client is closed.
    Closed,
    /// No instance is registered.
    Unknown,
    /// No known instance can be reached.
    Unreachable {
        instances: usize,
        source: Option<TransportError>,
    },
    /// Every reachable endpoint hosts a different agent. The variant contains the last tried
    /// endpoint and its answer.
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
        // Drop the guard, so that the call is no longer counted for the previous instance.
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
        let endpoint = &guard.instance().endpoint;
        tracing::debug!(endpoint = %Untrusted(endpoint), "instance chosen");
        let make = || Channel::new(&self.client, self.discovery.connector(&guard));
        let channel = guard.instance().channel_or_init(make).clone();
        Ok(self.current.insert((guard, channel)))
    }

    /// Returns the endpoint of the current instance.
    pub(super) fn endpoint(&self) -> Option<&Endpoint> {
        let (guard, _) = self.current.as_ref()?;
        Some(&guard.instance().endpoint)
    }

    /// Records that the current instance answered.
    pub(super) fn answered(&self) {
        if let Some((guard, _)) = &self.current {
            self.discovery.report(guard, Outcome::Answered);
        }
    }

    /// Decides whether the result of an attempt settles the call. If the request was not processed,
    /// the call can try another instance.
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
            // The endpoint now belongs to a different server, which has not processed the request.
            Ok(Body::Error(error)) if is_denial(&error, &self.client.config.name) => {
                self.discovery.report(guard, Outcome::Failed);
                self.denial = Some((instance.endpoint.clone(), error));
                AttemptOutcome::Unusable
            }
            // The connector has already reported the outcome, unless the server has refused the
            // client after the handshake. The outcome of one attempt counts once.
            Err(Failure::Connect(error)) => {
                if error.tls().is_some() {
                    self.discovery.report(guard, Outcome::Failed);
                }
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
                // The first lost connection of a call does not eject the instance, because the
                // server may have closed an idle connection just as the call began to use it.
                if !has_failed && self.history.add(instance.id, AttemptOutcome::Reached) {
                    return Verdict::TryAgain;
                }
                self.discovery.report(guard, Outcome::Failed);
                AttemptOutcome::Unreachable
            }
            // The instance was removed while the call was waiting for a connection.
            Err(Failure::Closed { sent: false }) if !self.client.closed.is_cancelled() => {
                AttemptOutcome::Unusable
            }
            // The time for this instance has expired, but the deadline of the call has not passed.
            // The connector measures how long connecting takes, so it reports whether the instance
            // has failed.
            Err(Failure::TimedOut(Phase::Queueing | Phase::Connecting))
                if Instant::now() < deadline =>
            {
                self.refusal = Some(connect_timed_out(&instance.endpoint));
                AttemptOutcome::Unreachable
            }
            settled => {
                match &settled {
                    Ok(Body::Error(_)) => self.discovery.report(guard, Outcome::AnsweredError),
                    Ok(_) => self.discovery.report(guard, Outcome::Answered),
                    Err(Failure::TimedOut(phase)) if phase.may_have_sent() => {
                        self.discovery.report(guard, Outcome::TimedOut);
                    }
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

/// Returns whether an error means that the server has no agent called `name` (PROTOCOL 7.3).
///
/// An agent may also fail with this code, but only a server adds the detail `available`.
fn is_denial(error: &WireError, name: &str) -> bool {
    let denied = error.details.get("agent_name");
    error.code == ErrorCode::AGENT_NOT_FOUND
        && denied.and_then(|denied| denied.as_str()) == Some(name)
        && error.details.contains_key("available")
}

/// Returns the error for a connection that ended before the request was written.
fn connection_lost(endpoint: &Endpoint, source: io::Error) -> TransportError {
    TransportError::Connect {
        endpoint: endpoint.clone(),
        source,
    }
}
