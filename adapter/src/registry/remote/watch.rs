//! A watch of a remote registry, which reconnects if its connection is lost.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use agentwire_codec::{Map, Message, Request};
use agentwire_registry::{
    Event, Registration, RegistryError, Watch, WatchScope,
    backend::{FieldError, WatchExt},
};
use agentwire_transport::{
    Endpoint,
    internal::{Backoff, Chain},
};
use async_stream::stream;
use tokio::time::{Instant, sleep, timeout_at};

use super::{
    MAX_REGISTRATIONS,
    budget::{Budget, ListLimits},
    error::{from_call_error, invalid_answer},
    without_duplicates,
};
use crate::{Error, MessageStream, RemoteAgent, registry::wire::WatchChunk};

/// Creates a watch of a remote registry. The watch connects when it is first polled.
pub(super) fn watch(
    registry: RemoteAgent,
    endpoint: Endpoint,
    limits: ListLimits,
    scope: WatchScope,
    request: Map,
    mut backoff: Backoff,
) -> Watch {
    if let Err(error) = scope.check() {
        return Watch::failed(error);
    }
    // Relaxed accesses are sufficient, because the flag guards no other data.
    let connected = Arc::new(AtomicBool::new(false));
    let is_live = Arc::clone(&connected);
    let events = stream! {
        // Whether an earlier connection has received a snapshot. The first snapshot of each later
        // connection is then a resync, because events may have been lost.
        let mut had_snapshot = false;
        loop {
            let mut source = Source::open(&registry, request.clone(), limits);
            let problem = loop {
                match source.next(&endpoint).await {
                    Ok(Some(mut event)) => {
                        if let Event::Snapshot { resync, .. } = &mut event {
                            *resync |= had_snapshot && !source.had_snapshot;
                            (had_snapshot, source.had_snapshot) = (true, true);
                            connected.store(true, Relaxed);
                            backoff.reset();
                        }
                        yield Ok(event);
                    }
                    Ok(None) => break None,
                    Err(error) => break Some(error),
                }
            };
            connected.store(false, Relaxed);
            // Close the connection before waiting.
            drop(source);
            match problem {
                // A client whose watch was permitted before may be permitted again, for example
                // with a new token.
                Some(error) if !(error.is_retryable() || had_snapshot && error.is_denied()) => {
                    yield Err(error);
                    return;
                }
                problem => {
                    let delay = match &problem {
                        Some(
                            RegistryError::TooManyWatches { .. }
                            | RegistryError::QuotaReached { .. },
                        ) => backoff.max_delay(),
                        Some(error) if error.is_denied() => backoff.max_delay(),
                        _ => backoff.next_delay(),
                    };
                    let cause = problem.as_ref().map(|error| Chain(error).to_string());
                    tracing::debug!(%endpoint, cause, ?delay, "registry watch lost; reconnecting");
                    sleep(delay).await;
                }
            }
        }
    };
    Watch::new(events).with_liveness(move || is_live.load(Relaxed))
}

/// The stream of a watch on one connection.
struct Source {
    chunks: MessageStream,
    limits: ListLimits,
    /// When the first snapshot, or the snapshot that is being received, must be complete.
    snapshot_deadline: Option<Instant>,
    /// Whether the snapshot of this connection has been returned.
    had_snapshot: bool,
}

impl Source {
    fn open(registry: &RemoteAgent, request: Map, limits: ListLimits) -> Self {
        Self {
            chunks: registry.ask_for_stream(Request::Other(request)),
            limits,
            snapshot_deadline: None,
            had_snapshot: false,
        }
    }

    /// Returns the next event, or `None` at the end of the stream.
    async fn next(&mut self, endpoint: &Endpoint) -> Result<Option<Event>, RegistryError> {
        let mut parts: Option<Vec<Arc<Registration>>> = None;
        let mut budget = Budget::new(self.limits.max_size);
        if !self.had_snapshot {
            self.snapshot_deadline = Some(Instant::now() + self.limits.timeout);
        }
        while let Some(chunk) = self.next_chunk().await? {
            let Message { content, .. } =
                chunk.map_err(|error| from_call_error(endpoint, None, error))?;
            let chunk =
                WatchChunk::read(content).map_err(|error| invalid_answer(endpoint, error))?;
            match (chunk, &mut parts) {
                (
                    WatchChunk::Snapshot {
                        registrations,
                        resync,
                        more,
                    },
                    parts,
                ) => {
                    budget.spend(&registrations, endpoint)?;
                    let deadline = Instant::now() + self.limits.timeout;
                    self.snapshot_deadline.get_or_insert(deadline);
                    let all = parts.get_or_insert_default();
                    all.extend(registrations);
                    if !more {
                        self.snapshot_deadline = None;
                        // A registration that changed meanwhile may be in two parts.
                        let all = without_duplicates(std::mem::take(all));
                        return Ok(Some(Event::snapshot(all, resync)));
                    }
                    if all.len() > MAX_REGISTRATIONS {
                        return Err(invalid_answer(
                            endpoint,
                            FieldError::new("more", "a snapshot that ends"),
                        ));
                    }
                }
                (WatchChunk::Ignored, _) => {}
                (WatchChunk::Event(_), Some(_)) => {
                    // The snapshot is incomplete.
                    let problem = FieldError::new("event", "the rest of the snapshot");
                    return Err(invalid_answer(endpoint, problem));
                }
                (WatchChunk::Event(_), _) if !self.had_snapshot => {
                    let problem = FieldError::new("event", "a snapshot first");
                    return Err(invalid_answer(endpoint, problem));
                }
                (WatchChunk::Event(event), _) => return Ok(Some(event)),
            }
        }
        Ok(None)
    }

    /// Waits for the next chunk. The wait for the rest of a snapshot ends at its deadline, however
    /// many chunks arrive until then.
    ///
    /// # Errors
    ///
    /// Returns [`RegistryError::NoAnswer`] if the snapshot is late.
    async fn next_chunk(&mut self) -> Result<Option<Result<Message, Error>>, RegistryError> {
        let Some(deadline) = self.snapshot_deadline else {
            return Ok(self.chunks.next().await);
        };
        let late = || RegistryError::NoAnswer {
            limit: self.limits.timeout,
        };
        // A chunk that is ready wins over the timeout, so the deadline is checked first.
        if Instant::now() >= deadline {
            return Err(late());
        }
        let next = timeout_at(deadline, self.chunks.next()).await;
        next.map_err(|_| late())
    }
}
