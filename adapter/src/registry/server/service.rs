use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use agentwire_codec::{
    Body, EnvelopeType, ErrorCode, Map, Message, Request, RequestId, Response, Value, WireError,
    map,
};
use agentwire_registry::{
    Query, Registry, RegistryError, SharedRegistry, WatchScope,
    backend::{FieldError, QueryExt, RegistryErrorExt},
};
use agentwire_transport::Peer;
use async_stream::stream;
use futures_core::Stream;
use futures_util::StreamExt;
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::Span;

use super::listing::{self, Asked, WORK_SLICE, Yielder};
use crate::{
    registry::wire::{self, Cursor},
    server::{Guard, Service, Work, unknown_method},
};

/// What a [`RegistryServer`](super::RegistryServer) does with envelopes (PROTOCOL 12).
pub(super) struct RegistryService {
    pub(super) registry: SharedRegistry,
    /// How many bytes of JSON a list in one answer may have.
    pub(super) page_size: usize,
    /// After how long without an event a watch says that it lives.
    pub(super) keep_alive: Duration,
    /// How long the registry may take.
    pub(super) handler_timeout: Option<Duration>,
    /// Those that may begin yet.
    pub(super) watches: Arc<Semaphore>,
    pub(super) max_watches: usize,
    /// Ends watches, which would not end by themselves.
    pub(super) drain: CancellationToken,
}

impl Service for RegistryService {
    fn accepts(&self, kind: EnvelopeType) -> bool {
        matches!(
            kind,
            EnvelopeType::Request
                | EnvelopeType::Register
                | EnvelopeType::Heartbeat
                | EnvelopeType::Unregister
        )
    }

    fn start(&self, id: &RequestId, body: Body, _: &Peer) -> Result<Work, WireError> {
        let method = match &body {
            Body::Request(request) => match request.method().as_str() {
                Some("lookup") => "lookup",
                Some("list") => "list",
                Some("find") => "find",
                Some("watch") => "watch",
                _ => return Err(unknown_method(request.method())),
            },
            other => other.kind().as_str(),
        };
        let span = tracing::debug_span!("request", %id, method);
        let (id, limit) = (id.clone(), self.handler_timeout);
        if let (Body::Request(Request::Other(payload)), "watch") = (&body, method) {
            let told = AssertUnwindSafe(self.watch(read_scope(payload)?)?).catch_unwind();
            return Ok(Work::Many(Box::pin(told.map(move |body| {
                let guard = guard(method, &id, &span, None);
                body.unwrap_or_else(|panic| Body::Error(guard.panicked(&*panic)))
            }))));
        }
        let work = answer(self.registry.clone(), body, method, self.page_size);
        let answered = async move {
            let guard = guard(method, &id, &span, limit);
            match guard.run(work, timed_out).await {
                Ok(Ok(payload)) => Response::Other(payload).into(),
                Ok(Err(error)) => {
                    tracing::debug!(parent: &span, code = %error.code, "request failed");
                    Body::Error(error)
                }
                Err(error) => Body::Error(error),
            }
        };
        Ok(Work::One(Box::pin(answered)))
    }
}

fn guard<'a>(
    method: &'a str,
    id: &'a RequestId,
    span: &'a Span,
    limit: Option<Duration>,
) -> Guard<'a> {
    Guard {
        kind: "registry",
        name: method,
        id,
        span,
        limit,
    }
}

impl RegistryService {
    fn watch(
        &self,
        scope: WatchScope,
    ) -> Result<impl Stream<Item = Body> + Send + 'static, WireError> {
        let Ok(permit) = Arc::clone(&self.watches).try_acquire_owned() else {
            let max = self.max_watches;
            tracing::warn!(max, "no more watches are served");
            return Err(RegistryError::TooManyWatches { max }.to_wire_error());
        };
        let (registry, drain) = (self.registry.clone(), self.drain.clone());
        let told = told(registry, scope, self.page_size, self.keep_alive, drain);
        // It goes with the stream.
        Ok(told.inspect(move |_| {
            let _ = &permit;
        }))
    }
}

/// A watch as the chunks of a stream.
fn told(
    registry: SharedRegistry,
    scope: WatchScope,
    page_size: usize,
    keep_alive: Duration,
    drain: CancellationToken,
) -> impl Stream<Item = Body> + Send + 'static {
    stream! {
        // Within the block, so that a panic in the asking is caught, too.
        let mut watch = registry.watch(scope);
        let mut has_begun = false;
        // Since when nothing was said, and since when the registry itself may have been out of reach.
        let (mut silent, mut blind) = (Instant::now(), Instant::now());
        loop {
            let longest = if has_begun { LONGEST_BLIND } else { LONGEST_BEGINNING };
            // It is looked at twice before it is said to be out of reach, as it may be so for a moment only.
            let wait = (LONGEST_BLIND / 2)
                .min(longest.saturating_sub(blind.elapsed()))
                .min(keep_alive.saturating_sub(silent.elapsed()));
            let next = tokio::select! {
                biased;
                // Whoever watches asks again, here or where this registry comes back.
                () = drain.cancelled() => break,
                // An event that comes at the same moment is not lost: it is asked for again.
                next = timeout(wait, watch.next()) => next,
            };
            match next {
                Ok(Some(Ok(event))) => {
                    for content in wire::tell(event, page_size) {
                        yield Body::StreamChunk(Message::agent(content));
                    }
                    has_begun = true;
                    (silent, blind) = (Instant::now(), Instant::now());
                }
                Ok(Some(Err(error))) => {
                    yield Body::Error(error.to_wire_error());
                    return;
                }
                Ok(None) => break,
                Err(_) => {
                    if has_begun && watch.is_live() {
                        blind = Instant::now();
                    } else if blind.elapsed() >= longest {
                        yield Body::Error(out_of_touch());
                        return;
                    }
                    if silent.elapsed() >= keep_alive {
                        // Before the snapshot nothing is said (PROTOCOL 12.9).
                        if has_begun {
                            yield Body::StreamChunk(Message::agent(wire::alive()));
                        }
                        silent = Instant::now();
                    }
                }
            }
        }
        yield Body::StreamEnd;
    }
}

/// How long a registry may be out of reach until those who watch are told (PROTOCOL 12.11).
const LONGEST_BLIND: Duration = Duration::from_secs(30);

/// How long its first snapshot may take. Those who watch a registry in Redis wait for their turn, for up to 60 s; ending
/// that would put them behind all the others.
const LONGEST_BEGINNING: Duration = Duration::from_secs(90);

/// The payload of the one response to a request.
async fn answer(
    registry: SharedRegistry,
    body: Body,
    method: &'static str,
    page_size: usize,
) -> Result<Map, WireError> {
    let refused = |error: RegistryError| error.to_wire_error();
    match (method, body) {
        (_, Body::Register(register)) => {
            let registration = wire::read_registration(register).map_err(refused)?;
            let lease = registry.register(registration).await.map_err(refused)?;
            Ok(wire::lease(lease))
        }
        (_, Body::Heartbeat(beat)) => {
            let which = wire::read_ref(beat.agent_name, beat.endpoint, beat.instance);
            let which = which.map_err(refused)?;
            registry.heartbeat(&which).await.map_err(refused)?;
            Ok(Map::new())
        }
        (_, Body::Unregister(leave)) => {
            let name = leave.agent_name.unwrap_or_default();
            let which = wire::read_ref(name, leave.endpoint, leave.instance).map_err(refused)?;
            registry.unregister(&which).await.map_err(refused)?;
            Ok(Map::new())
        }
        (method, Body::Request(Request::Other(payload))) => {
            let after = Cursor::read(&payload).map_err(malformed)?;
            let asked = match method {
                "lookup" => {
                    let name = wire::text(&payload, "agent_name").map_err(malformed)?;
                    Asked::Name(name)
                }
                "find" => Asked::Query(read_query(&payload)?),
                _ => Asked::All,
            };
            let yielder = Yielder::every(WORK_SLICE);
            let listed = listing::list(&registry, &asked, after.as_ref(), page_size, yielder).await;
            let (page, next) = listed.map_err(refused)?;
            let mut answer = Map::from([("registrations", page)]);
            answer.extend(next.map(|next| ("next", next)));
            Ok(answer)
        }
        (_, other) => Err(unknown_method(other.kind().as_str().into())),
    }
}

fn read_query(payload: &Map) -> Result<Query, WireError> {
    let problem = FieldError::new("query", "an object");
    match payload.get("query") {
        None | Some(Value::Null) => Ok(Query::new()),
        Some(Value::Map(query)) => Query::from_map(query).map_err(malformed),
        Some(_) => Err(malformed(problem)),
    }
}

fn read_scope(payload: &Map) -> Result<WatchScope, WireError> {
    let name = wire::text(payload, "agent_name").map_err(malformed)?;
    Ok(match &*name {
        "" => WatchScope::All,
        name => WatchScope::name(name),
    })
}

fn malformed(error: FieldError) -> WireError {
    let text = format!("Invalid payload: {error}");
    WireError::new(ErrorCode::MALFORMED_PAYLOAD, text)
}

fn timed_out(limit: Duration) -> WireError {
    let text = format!("The registry did not answer within {limit:?}");
    WireError::new(ErrorCode::AGENT_UNAVAILABLE, text).with_details(map! {"reason": "unavailable"})
}

fn out_of_touch() -> WireError {
    let text = "What the registry relies on cannot be reached";
    WireError::new(ErrorCode::AGENT_UNAVAILABLE, text).with_details(map! {"reason": "unavailable"})
}
