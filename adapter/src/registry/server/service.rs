//! Processes the requests that a registry server receives.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use agentwire_codec::{
    Body, EnvelopeType, ErrorCode, Map, Message, Request, RequestId, Response, Value, WireError,
    map,
};
use agentwire_registry::{
    Event, InstanceRef, Query, Registry, RegistryError, SharedRegistry, WatchScope,
    backend::{FieldError, InstanceRefExt, QueryExt, RegistryErrorExt},
};
use agentwire_transport::internal::LogLimit;
use async_stream::stream;
use futures_core::Stream;
use futures_util::{FutureExt, StreamExt};
use tokio::{
    sync::Semaphore,
    task::unconstrained,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::Span;

use super::{
    listing::{self, ListRequest, WORK_SLICE, Yielder},
    quota::Quotas,
    reader::{Reader, place},
};
use crate::{
    Credential,
    registry::wire::{self, Cursor},
    server::{Caller, Guard, Heartbeats, Scope, Service, Work, show, stored, unknown_method},
};

/// The service of a [`RegistryServer`](super::RegistryServer) (PROTOCOL 12).
pub(super) struct RegistryService {
    pub(super) registry: SharedRegistry,
    /// The maximum size of a page of a list, in bytes of JSON.
    pub(super) page_size: usize,
    /// The interval of keep-alive messages on a watch without events.
    pub(super) keep_alive: Duration,
    /// The timeout for an answer of the registry.
    pub(super) handler_timeout: Option<Duration>,
    /// The permits that limit the number of concurrent watches.
    pub(super) watches: Arc<Semaphore>,
    pub(super) max_watches: usize,
    pub(super) refused_watches: LogLimit,
    pub(super) quotas: Arc<Quotas>,
    /// Ends all watches at shutdown, because watches do not end by themselves.
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

    fn heartbeats(&self) -> Heartbeats {
        Heartbeats::Renewals
    }

    fn start(&self, id: &RequestId, body: Body, caller: &Caller) -> Result<Work, WireError> {
        let method = match body {
            Body::Request(ref request) => match request.method() {
                Some("lookup") => "lookup",
                Some("list") => "list",
                Some("find") => "find",
                Some("watch") => "watch",
                _ => "",
            },
            ref other => other.kind().as_str(),
        };
        let body = match body {
            Body::Request(request) if method.is_empty() => {
                return Err(unknown_method(&request));
            }
            body => body,
        };
        let span = tracing::debug_span!("request", %id, method);
        let (id, limit) = (id.clone(), self.handler_timeout);
        if let (Body::Request(Request::Other(payload)), "watch") = (&body, method) {
            let scope = caller.scope.as_deref();
            let reader = Reader::new(&caller.peer, payload).map_err(malformed)?;
            let reader = reader.within(caller.scope.clone());
            let chunks = self.watch(read_scope(payload, scope)?, reader, caller)?;
            let chunks = AssertUnwindSafe(chunks).catch_unwind();
            return Ok(Work::Many(Box::pin(chunks.map(move |body| {
                let guard = guard(method, &id, &span, None);
                body.unwrap_or_else(|panic| Body::Error(guard.panicked(&*panic)))
            }))));
        }
        let work = answer(
            self.registry.clone(),
            Arc::clone(&self.quotas),
            body,
            method,
            caller.clone(),
            self.page_size,
        );
        let scope = caller.scope.clone();
        let answered = async move {
            let guard = guard(method, &id, &span, limit);
            match guard.run(work, timed_out).await {
                Ok(Ok(payload)) => Response::Other(payload).into(),
                Ok(Err(error)) => {
                    tracing::debug!(parent: &span, code = %error.code, "request failed");
                    Body::Error(match scope {
                        Some(scope) => scope.show_error(error),
                        None => error,
                    })
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
        reader: Reader,
        caller: &Caller,
    ) -> Result<impl Stream<Item = Body> + Send + 'static, WireError> {
        let refused = |error: RegistryError| error.to_wire_error();
        let place = self.quotas.reserve_watch(caller).map_err(refused)?;
        let Ok(permit) = Arc::clone(&self.watches).try_acquire_owned() else {
            let max = self.max_watches;
            if let Some(count) = self.refused_watches.record(Instant::now()) {
                let peer = &caller.peer;
                tracing::warn!(%peer, max, count, "watch refused: limit reached");
            }
            return Err(refused(RegistryError::TooManyWatches { max }));
        };
        let (registry, drain) = (self.registry.clone(), self.drain.clone());
        let chunks = watch_chunks(
            registry,
            scope,
            reader,
            self.page_size.min(WATCH_PAGE_SIZE),
            self.keep_alive,
            drain,
        );
        // The closure owns the permit and the place, which are released when the stream is dropped.
        Ok(chunks.inspect(move |_| {
            let _ = (&permit, &place);
        }))
    }
}

/// Converts the events of a watch into the chunks of a stream.
///
/// A watch that waits for its reader holds no registrations. The snapshot is therefore read page by
/// page, while the registry may change, and the events that arrived meanwhile follow.
fn watch_chunks(
    registry: SharedRegistry,
    scope: WatchScope,
    reader: Reader,
    page_size: usize,
    keep_alive: Duration,
    drain: CancellationToken,
) -> impl Stream<Item = Body> + Send + 'static {
    stream! {
        // The watch is created inside the stream, so that a panic of the registry is caught.
        let mut watch = registry.watch(scope.clone());
        let mut has_started = false;
        // Whether the next events may be older than the last page of the snapshot.
        let mut is_behind = false;
        let mut late = None;
        let request = match scope {
            WatchScope::Name(name) => ListRequest::Name(name),
            _ => ListRequest::All,
        };
        let (mut last_chunk, mut last_live) = (Instant::now(), Instant::now());
        loop {
            let max_outage = if has_started { MAX_OUTAGE } else { MAX_START };
            // Check the watch at least twice before ending it, because the outage may be short.
            let wait = (MAX_OUTAGE / 2)
                .min(max_outage.saturating_sub(last_live.elapsed()))
                .min(keep_alive.saturating_sub(last_chunk.elapsed()));
            if is_behind {
                late = unconstrained(watch.next()).now_or_never();
                is_behind = late.is_some();
            }
            let next = tokio::select! {
                biased;
                // When a watch ends, clients open a new watch at a running server.
                () = drain.cancelled() => break,
                next = async { late.take() }, if late.is_some() => Ok(next.flatten()),
                // The timeout loses no event, because `next` is cancel safe.
                next = timeout(wait, watch.next()) => next,
            };
            match next {
                Ok(Some(Ok(Event::Snapshot { registrations, resync, .. }))) => {
                    drop(registrations);
                    let mut after = None;
                    loop {
                        let yielder = Yielder::every(WORK_SLICE);
                        let page = listing::list(
                            &registry,
                            &request,
                            after.as_ref(),
                            &reader,
                            page_size,
                            yielder,
                        );
                        let page = timeout(MAX_OUTAGE, page);
                        let page = page.await.map_err(|_| backend_unreachable());
                        let page = page.and_then(|page| page.map_err(|error| error.to_wire_error()));
                        let (page, next) = match page {
                            Ok(page) => page,
                            Err(error) => {
                                yield Body::Error(error);
                                return;
                            }
                        };
                        let content = wire::snapshot_part(page, resync, next.is_some());
                        yield Body::StreamChunk(Message::agent(content));
                        let Some(next) = next else {
                            break;
                        };
                        after = match Cursor::read(&Map::from([("after", next)])) {
                            Ok(after) => after.map(|after| in_scope(after, reader.scope())),
                            Err(error) => {
                                yield Body::Error(malformed(error));
                                return;
                            }
                        };
                        if drain.is_cancelled() {
                            yield Body::StreamEnd;
                            return;
                        }
                    }
                    has_started = true;
                    is_behind = true;
                    (last_chunk, last_live) = (Instant::now(), Instant::now());
                }
                Ok(Some(Ok(event))) => {
                    if event.registration().is_some_and(|changed| !reader.sees(changed))
                        || is_behind && !is_current(&registry, &event).await
                    {
                        last_live = Instant::now();
                        continue;
                    }
                    let event = shown(event, reader.scope());
                    if let Some(content) = wire::encode_change(&event) {
                        yield Body::StreamChunk(Message::agent(content));
                    }
                    has_started = true;
                    (last_chunk, last_live) = (Instant::now(), Instant::now());
                }
                Ok(Some(Err(error))) => {
                    yield Body::Error(error.to_wire_error());
                    return;
                }
                Ok(None) => break,
                Err(_) => {
                    if has_started && watch.is_live() {
                        last_live = Instant::now();
                    } else if last_live.elapsed() >= max_outage {
                        yield Body::Error(backend_unreachable());
                        return;
                    }
                    if last_chunk.elapsed() >= keep_alive {
                        // No keep-alive is sent before the snapshot (PROTOCOL 12.9).
                        if has_started {
                            yield Body::StreamChunk(Message::agent(wire::keep_alive()));
                        }
                        last_chunk = Instant::now();
                    }
                }
            }
        }
        yield Body::StreamEnd;
    }
}

/// Returns whether an event describes the present state of the registry. If not, another event
/// follows that does.
async fn is_current(registry: &SharedRegistry, event: &Event) -> bool {
    let Some(changed) = event.registration() else {
        return true;
    };
    let Ok(live) = registry.lookup(&changed.name).await else {
        return true;
    };
    let present = live.iter().find(|one| one.endpoint == changed.endpoint);
    match event {
        Event::Left(_) | Event::Expired(_) => present.is_none(),
        _ => present.is_some_and(|present| present.is_same_offer(changed)),
    }
}

/// Processes a request and returns the payload of its response.
async fn answer(
    registry: SharedRegistry,
    quotas: Arc<Quotas>,
    body: Body,
    method: &'static str,
    caller: Caller,
    page_size: usize,
) -> Result<Map, WireError> {
    let refused = |error: RegistryError| error.to_wire_error();
    let scope = caller.scope.as_deref();
    let owner = |owner: Option<String>, instance: &Option<String>| match scope {
        Some(scope) => Some(scope.owner(owner.as_deref(), instance.as_deref())),
        None => owner,
    };
    match (method, body) {
        (_, Body::Register(mut register)) => {
            // Credentials must never be published, whether or not this server reads them.
            let _ = Credential::take(&mut register.metadata);
            register.agent_name = stored_name(scope, register.agent_name)?;
            register.owner = owner(register.owner, &register.instance);
            let registration = wire::read_registration(*register).map_err(refused)?;
            let registration = place(&caller.peer, registration).map_err(refused)?;
            let place = quotas.reserve(&caller, &registration).map_err(refused)?;
            let lease = registry.register(registration).await.map_err(refused)?;
            place.keep(lease);
            Ok(wire::encode_lease(lease))
        }
        (_, Body::Heartbeat(beat)) => {
            let name = stored_name(scope, beat.agent_name)?;
            let key = owner(beat.owner, &beat.instance);
            let which = wire::read_ref(name, beat.endpoint, beat.instance, key);
            let which = which.map_err(refused)?;
            registry.heartbeat(&which).await.map_err(refused)?;
            match &which.endpoint {
                Some(endpoint) => quotas.renew(&which.name, endpoint),
                None => reconcile(&registry, &quotas, &which).await,
            }
            Ok(Map::new())
        }
        (_, Body::Unregister(leave)) => {
            let name = stored_name(scope, leave.agent_name.unwrap_or_default())?;
            let key = owner(leave.owner, &leave.instance);
            let which = wire::read_ref(name, leave.endpoint, leave.instance, key);
            let mut which = which.map_err(refused)?;
            if scope.is_some_and(Scope::is_admin) {
                which = which.with_authority();
            }
            registry.unregister(&which).await.map_err(refused)?;
            // An answer without an error does not say whether anything was unregistered.
            reconcile(&registry, &quotas, &which).await;
            Ok(Map::new())
        }
        (method, Body::Request(Request::Other(payload))) => {
            let after = Cursor::read(&payload).map_err(malformed)?;
            let after = after.map(|after| in_scope(after, scope));
            let reader = Reader::new(&caller.peer, &payload).map_err(malformed)?;
            let reader = reader.within(caller.scope.clone());
            let request = match method {
                "lookup" => {
                    let name = wire::text(&payload, "agent_name").map_err(malformed)?;
                    ListRequest::Name(stored_name(scope, name)?)
                }
                "find" => ListRequest::Query(read_query(&payload, scope)?),
                _ => ListRequest::All,
            };
            let yielder = Yielder::every(WORK_SLICE);
            let listed = listing::list(
                &registry,
                &request,
                after.as_ref(),
                &reader,
                page_size,
                yielder,
            )
            .await;
            let (page, next) = listed.map_err(refused)?;
            let mut answer = Map::from([("registrations", page)]);
            answer.extend(next.map(|next| ("next", next)));
            Ok(answer)
        }
        (_, Body::Request(request)) => Err(unknown_method(&request)),
        // Unreachable, because `accepts` refuses all other types.
        (_, _) => Err(WireError::new(ErrorCode::INVALID_MESSAGE, "Not a request")),
    }
}

/// Brings the quotas up to date with the registrations of a name.
async fn reconcile(registry: &SharedRegistry, quotas: &Quotas, which: &InstanceRef) {
    if !quotas.counts_any(&which.name) {
        return;
    }
    let read_at = Instant::now();
    // If the lookup fails, the registrations count until their leases have passed.
    if let Ok(live) = registry.lookup(&which.name).await {
        quotas.reconcile(&which.name, &live, read_at);
    }
}

fn read_query(payload: &Map, scope: Option<&Scope>) -> Result<Query, WireError> {
    let problem = FieldError::new("query", "an object");
    let query = match payload.get("query") {
        None | Some(Value::Null) => Query::new(),
        Some(Value::Map(query)) => Query::from_map(query).map_err(malformed)?,
        Some(_) => return Err(malformed(problem)),
    };
    match query.required_name().map(str::to_owned) {
        Some(name) => Ok(query.name(stored_name(scope, name)?)),
        None => Ok(query),
    }
}

fn read_scope(payload: &Map, scope: Option<&Scope>) -> Result<WatchScope, WireError> {
    let name = wire::text(payload, "agent_name").map_err(malformed)?;
    Ok(match &*name {
        "" => WatchScope::All,
        _ => WatchScope::name(stored_name(scope, name)?),
    })
}

/// Returns the name that the registry keeps.
fn stored_name(scope: Option<&Scope>, name: String) -> Result<String, WireError> {
    stored(scope, name).ok_or_else(|| {
        let text = "Names that begin with '@' belong to other namespaces";
        WireError::new(ErrorCode::PERMISSION_DENIED, text)
            .with_details(map! {"reason": "namespace"})
    })
}

/// Converts the names in a cursor that a caller has sent back.
fn in_scope(cursor: Cursor, scope: Option<&Scope>) -> Cursor {
    cursor.renamed(|name| stored(scope, name).unwrap_or_default())
}

/// Returns an event as a caller sees it.
fn shown(event: Event, scope: Option<&Scope>) -> Event {
    let show = |registration| show(scope, &registration).into_owned();
    match event {
        Event::Joined(joined) => Event::Joined(show(joined)),
        Event::Updated(updated) => Event::Updated(show(updated)),
        Event::Left(left) => Event::Left(show(left)),
        Event::Expired(expired) => Event::Expired(show(expired)),
        other => other,
    }
}

fn malformed(error: FieldError) -> WireError {
    let text = format!("Invalid payload: {error}");
    WireError::new(ErrorCode::MALFORMED_PAYLOAD, text)
}

fn timed_out(limit: Duration) -> WireError {
    let text = format!("The registry did not answer within {limit:?}");
    WireError::new(ErrorCode::AGENT_UNAVAILABLE, text).with_details(map! {"reason": "unavailable"})
}

fn backend_unreachable() -> WireError {
    let text = "The backend of the registry cannot be reached";
    WireError::new(ErrorCode::AGENT_UNAVAILABLE, text).with_details(map! {"reason": "unavailable"})
}

/// The time after which the watches of an unreachable registry fail (PROTOCOL 12.11).
const MAX_OUTAGE: Duration = Duration::from_secs(30);

/// The timeout for the first snapshot of a watch. A Redis registry may queue a watch for up to 60
/// s. With a shorter timeout, the watch would fail and move to the end of the queue.
const MAX_START: Duration = Duration::from_secs(90);

/// The maximum size of a part of a snapshot, in bytes of JSON. A part waits in memory until the
/// reader of the watch takes it.
const WATCH_PAGE_SIZE: usize = 16 * 1024;
