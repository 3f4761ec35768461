use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use agentwire_codec::{Message, Request, map};
use agentwire_registry::{
    Event, Registration, RegistryError, Watch, WatchScope,
    backend::{FieldError, WatchExt},
};
use agentwire_transport::internal::Backoff;
use async_stream::stream;
use tokio::time::sleep;

use super::{
    MAX_REGISTRATIONS,
    error::{failed, invalid},
};
use crate::{MessageStream, RemoteAgent, registry::wire::Told};

/// A watch that outlives its connections. It does nothing before it is polled.
pub(super) fn watch(registry: RemoteAgent, scope: WatchScope, mut backoff: Backoff) -> Watch {
    if let Err(error) = scope.check() {
        return Watch::failed(error);
    }
    let in_touch = Arc::new(AtomicBool::new(false));
    let is_live = Arc::clone(&in_touch);
    let events = stream! {
        // Whether something may have been missed by the time of the next snapshot.
        let mut told_before = false;
        loop {
            let mut source = Source::open(&registry, &scope);
            let problem = loop {
                match source.next(&registry).await {
                    Ok(Some(mut event)) => {
                        if let Event::Snapshot { resync, .. } = &mut event {
                            *resync |= std::mem::replace(&mut told_before, true) && !source.known;
                            source.known = true;
                            in_touch.store(true, Relaxed);
                            backoff.reset();
                        }
                        yield Ok(event);
                    }
                    Ok(None) => break None,
                    Err(error) => break Some(error),
                }
            };
            in_touch.store(false, Relaxed);
            // The connection goes before the wait.
            drop(source);
            match problem {
                Some(error) if is_permanent(&error) => {
                    yield Err(error);
                    return;
                }
                problem => {
                    let wait = match &problem {
                        Some(RegistryError::TooManyWatches { .. }) => backoff.max_delay(),
                        _ => backoff.next_delay(),
                    };
                    let endpoint = registry.endpoint();
                    tracing::debug!(%endpoint, ?problem, ?wait, "a watch was lost; connecting again");
                    sleep(wait).await;
                }
            }
        }
    };
    Watch::new(events).with_liveness(move || is_live.load(Relaxed))
}

/// What waiting does not mend.
fn is_permanent(error: &RegistryError) -> bool {
    !error.is_retryable()
}

/// One connection's worth of a watch.
struct Source {
    chunks: MessageStream,
    /// Whether its snapshot has been told.
    known: bool,
}

impl Source {
    fn open(registry: &RemoteAgent, scope: &WatchScope) -> Self {
        let mut request = map! {"method": "watch"};
        if let WatchScope::Name(name) = scope {
            request.insert("agent_name", &**name);
        }
        Self {
            chunks: registry.ask_for_stream(Request::Other(request)),
            known: false,
        }
    }

    /// The next event; `None` when the connection has come to its end.
    async fn next(&mut self, registry: &RemoteAgent) -> Result<Option<Event>, RegistryError> {
        let endpoint = registry.endpoint();
        let mut parts: Option<Vec<Arc<Registration>>> = None;
        while let Some(chunk) = self.chunks.next().await {
            let Message { content, .. } = chunk.map_err(|error| failed(endpoint, None, error))?;
            let told = Told::read(content).map_err(|error| invalid(endpoint, error))?;
            match (told, &mut parts) {
                (
                    Told::Part {
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
                        return Err(invalid(
                            endpoint,
                            FieldError::new("more", "false in the end"),
                        ));
                    }
                }
                (Told::Nothing, _) => {}
                (Told::Event(_), Some(_)) => {
                    // What was told of the snapshot so far is not all.
                    let problem = FieldError::new("event", "the rest of the snapshot");
                    return Err(invalid(endpoint, problem));
                }
                (Told::Event(_), _) if !self.known => {
                    let problem = FieldError::new("event", "a snapshot at first");
                    return Err(invalid(endpoint, problem));
                }
                (Told::Event(event), _) => return Ok(Some(event)),
            }
        }
        Ok(None)
    }
}
