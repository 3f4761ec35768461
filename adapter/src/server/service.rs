//! The interface between carriers and the logic of a server.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use agentwire_codec::{
    Body, EnvelopeType, ErrorCode, Map, Request, RequestId, TraceContext, Value, WireError,
    internal::{repeatable, repeatable_text},
};
use agentwire_transport::Peer;
use futures_core::{future::BoxFuture, stream::BoxStream};
use tokio::time::Instant;

use super::scope::Scope;
use crate::{
    Credential, Principal,
    connection::Bodies,
    description::DESCRIBE,
    observer::{Observers, RequestReporter, Subject},
};

/// The logic of a server. A service runs agents and tools, manages a registry, or forwards
/// requests.
///
/// A service does not handle connections, encodings or limits. The carriers implement them.
///
/// A service in front of another one returns it in [`behind`](Self::behind), and implements only
/// the methods whose answer it changes. The default of every other method asks the service behind
/// it.
pub(crate) trait Service: Send + Sync + 'static {
    /// Returns the service behind this one, if there is one.
    fn behind(&self) -> Option<&dyn Service> {
        None
    }

    /// Returns how carriers decode the bodies of requests.
    fn bodies(&self) -> Bodies {
        self.behind()
            .map_or(Bodies::Typed, |service| service.bodies())
    }

    /// Returns the name of the service for its callers: that of its first agent, if there is one.
    #[cfg(feature = "http")]
    fn name(&self) -> &str {
        self.behind().map_or("", |service| service.name())
    }

    /// Returns whether envelopes of this type are requests for this service. All other envelopes
    /// are refused with `INVALID_MESSAGE`.
    fn accepts(&self, kind: EnvelopeType) -> bool {
        self.behind().is_some_and(|service| service.accepts(kind))
    }

    /// Returns the name of the agent that answers a request for `requested`, which is empty if the
    /// request names no agent. Permissions are checked for this name.
    fn agent_for<'a>(&'a self, requested: &'a str) -> &'a str {
        self.behind()
            .map_or(requested, |service| service.agent_for(requested))
    }

    /// Returns what heartbeats mean to this service.
    #[cfg_attr(
        not(feature = "auth"),
        allow(dead_code, reason = "used by the gatekeeper")
    )]
    fn heartbeats(&self) -> Heartbeats {
        self.behind()
            .map_or(Heartbeats::Pings, |service| service.heartbeats())
    }

    /// Returns what a request asks for, for observers. The name must not be a text of the caller.
    fn subject(&self, body: &Body) -> Subject {
        match self.behind() {
            Some(service) => service.subject(body),
            None => Subject {
                method: method_of(body),
                name: None,
            },
        }
    }

    /// Returns whether requests need a credential, or a connection with an identity.
    #[cfg(feature = "http")]
    fn authenticates(&self) -> bool {
        self.behind().is_some_and(|service| service.authenticates())
    }

    /// Checks the credential of a new connection, so that a wrong credential is refused before the
    /// first request. A connection without a credential passes, because its requests may have
    /// credentials.
    #[cfg(any(feature = "http", feature = "websocket"))]
    fn check_credential(&self, caller: Caller) -> BoxFuture<'static, Result<(), WireError>> {
        match self.behind() {
            Some(service) => service.check_credential(caller),
            None => Box::pin(std::future::ready(Ok(()))),
        }
    }

    /// Starts a request of an accepted type. The returned work makes progress when polled, and is
    /// cancelled when dropped.
    ///
    /// # Errors
    ///
    /// Returns the error that answers the request.
    fn start(&self, id: &RequestId, body: Body, caller: &Caller) -> Result<Work, WireError>;
}

/// What heartbeats mean to a service.
#[cfg_attr(
    not(feature = "auth"),
    allow(dead_code, reason = "used by the gatekeeper")
)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heartbeats {
    /// Checks whether the server is alive.
    Pings,
    /// Renewals of registrations, unless they name no agent.
    Renewals,
    /// Whatever the target of a proxy takes them for.
    Forwarded,
}

/// The sender of a request.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) peer: Peer,
    pub(crate) connection: ConnectionId,
    /// The credential that came with the connection or the request, outside of the envelope. For
    /// example, a header `Authorization`.
    #[cfg_attr(
        not(any(feature = "auth", feature = "grpc", feature = "http")),
        allow(dead_code, reason = "read by the gatekeeper")
    )]
    pub(crate) credential: Option<Credential>,
    /// What else came with the request, outside of the envelope.
    pub(crate) carried: Option<Box<Carried>>,
    /// Who was authenticated, if the server authenticates its callers.
    pub(crate) principal: Option<Principal>,
    /// What the caller sees of a registry, or `None` for everything.
    pub(crate) scope: Option<Arc<Scope>>,
    /// Reports the requests of the connection, if the server has an observer.
    pub(super) reporter: Option<Arc<RequestReporter>>,
    /// What the gatekeeper knows about the connection.
    #[cfg(feature = "auth")]
    pub(crate) identity: super::gatekeeper::Identity,
}

impl Caller {
    /// Creates the caller of a new connection.
    pub(crate) fn new(peer: Peer) -> Self {
        Self {
            peer,
            connection: ConnectionId::next(),
            credential: None,
            carried: None,
            principal: None,
            scope: None,
            reporter: None,
            #[cfg(feature = "auth")]
            identity: super::gatekeeper::Identity::default(),
        }
    }

    /// Reports the requests of the connection to the observers.
    pub(super) fn observed(mut self, observers: &Observers) -> Self {
        self.reporter = RequestReporter::new(observers, &self.peer, self.connection.number());
        self
    }
}

/// What came with a request outside of its envelope, such as in the headers of HTTP. The keys of
/// the envelope have precedence.
#[derive(Debug, Clone, Default)]
pub(crate) struct Carried {
    pub(crate) trace: Option<TraceContext>,
    pub(crate) idempotency_key: Option<Arc<str>>,
    /// When the carrier stops waiting for the answer.
    pub(crate) deadline: Option<Instant>,
}

impl Carried {
    /// Adds the values to the payload of a request that is forwarded.
    pub(crate) fn put(&self, payload: &mut Map) {
        let is_execute = match payload.get("method").and_then(Value::as_str) {
            Some("process" | "stream") => false,
            Some("execute") => true,
            _ => return,
        };
        match (&self.trace, payload.get_mut("message")) {
            (Some(trace), _) if is_execute => put_trace(trace, payload),
            (Some(trace), Some(Value::Map(message))) => put_trace(trace, message),
            _ => {}
        }
        if let Some(deadline) = self.deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            let left = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
            let sent = payload.get("deadline_ms").and_then(Value::as_u64);
            payload.insert("deadline_ms", sent.map_or(left, |sent| sent.min(left)));
        }
        if let (Some(key), None) = (&self.idempotency_key, payload.get("idempotency_key")) {
            payload.insert("idempotency_key", &**key);
        }
    }
}

fn put_trace(trace: &TraceContext, holder: &mut Map) {
    match holder.get_mut("metadata") {
        Some(Value::Map(metadata)) => {
            if TraceContext::read_from(metadata).is_none() {
                trace.write_to(metadata);
            }
        }
        None | Some(Value::Null) => {
            let mut metadata = Map::new();
            trace.write_to(&mut metadata);
            holder.insert("metadata", metadata);
        }
        Some(_) => {}
    }
}

/// Identifies a connection of any server in this process. Ids are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ConnectionId(u64);

impl ConnectionId {
    /// Returns the id for observers.
    pub(crate) fn number(self) -> u64 {
        self.0
    }

    /// Returns a new id.
    pub(crate) fn next() -> Self {
        // Relaxed, because only the uniqueness of the ids matters.
        Self(NEXT_CONNECTION.fetch_add(1, Relaxed))
    }
}

static NEXT_CONNECTION: AtomicU64 = AtomicU64::new(0);

/// The processing of one request.
pub(crate) enum Work {
    /// A future that resolves to the only answer.
    One(BoxFuture<'static, Body>),
    /// A stream of chunks that ends with a `stream_end` or an error.
    Many(BoxStream<'static, Body>),
}

/// Returns the answer to a request for an unknown method (PROTOCOL 7.3).
pub(crate) fn unknown_method(request: &Request) -> WireError {
    let method = match request {
        Request::Other(payload) => payload.get("method").map(repeatable).unwrap_or_default(),
        known => known.method().into(),
    };
    let text = format!(
        "Unknown method: {}",
        repeatable_text(&method.to_plain_text())
    );
    WireError::new(ErrorCode::INVALID_MESSAGE, text).with_details(Map::from([("method", method)]))
}

/// Returns the name of a method for observers. The methods that the library does not know are
/// called `other`, because callers can choose any name.
pub(super) fn method_of(body: &Body) -> &'static str {
    let method = match body {
        Body::Request(request) => request.method(),
        Body::Raw(raw) if raw.kind == EnvelopeType::Request => {
            raw.payload.get("method").and_then(Value::as_str)
        }
        other => return other.kind().as_str(),
    };
    let known = METHODS.iter().find(|known| Some(**known) == method);
    known.copied().unwrap_or("other")
}

const METHODS: [&str; 8] = [
    "process", "stream", "execute", DESCRIBE, "lookup", "list", "find", "watch",
];
