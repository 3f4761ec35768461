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
use tokio::time::sleep;

use super::{
    MAX_REGISTRATIONS,
    error::{from_call_error, invalid_answer},
};
use crate::{MessageStream, RemoteAgent, registry::wire::WatchChunk};

/// Creates a watch of a remote registry. The watch connects when it is first polled.
pub(super) fn watch(
    registry: RemoteAgent,
    endpoint: Endpoint,
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
            let mut source = Source::open(&registry, request.clone());
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
                Some(error) if !error.is_retryable() => {
                    yield Err(error);
                    return;
                }
                problem => {
                    let delay = match &problem {
                        Some(
                            RegistryError::TooManyWatches { .. }
                            | RegistryError::QuotaReached { .. },
                        ) => backoff.max_delay(),
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
    /// Whether the snapshot of this connection has been returned.
    had_snapshot: bool,
}

impl Source {
    fn open(registry: &RemoteAgent, request: Map) -> Self {
        Self {
            chunks: registry.ask_for_stream(Request::Other(request)),
            had_snapshot: false,
        }
    }

    /// Returns the next event, or `None` at the end of the stream.
    async fn next(&mut self, endpoint: &Endpoint) -> Result<Option<Event>, RegistryError> {
        let mut parts: Option<Vec<Arc<Registration>>> = None;
        while let Some(chunk) = self.chunks.next().await {
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
                    let all = parts.get_or_insert_default();
                    all.extend(registrations);
                    if !more {
                        return Ok(Some(Event::snapshot(std::mem::take(all), resync)));
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
}
