//! Watches, which look a name up again and again.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use agentwire_transport::internal::Chain;
use futures_util::stream;
use tokio::time::sleep;

use super::shared::Shared;
use crate::{Event, Registration, RegistryError, Watch, WatchScope, backend::WatchExt};

/// Creates a watch, which ends when the registry is dropped.
pub(super) fn watch(shared: &Arc<Shared>, scope: WatchScope) -> Watch {
    // Relaxed, because the flag protects no other memory.
    let is_live = Arc::new(AtomicBool::new(true));
    let changes = Changes {
        shared: Arc::downgrade(shared),
        scope,
        known: None,
        events: VecDeque::new(),
        is_live: Arc::clone(&is_live),
        pause: Duration::ZERO,
    };
    let events = stream::unfold(changes, |mut changes| async move {
        let event = changes.next().await?;
        Some((Ok::<_, RegistryError>(event), changes))
    });
    Watch::new(events).with_liveness(move || is_live.load(Relaxed))
}

struct Changes {
    shared: Weak<Shared>,
    scope: WatchScope,
    /// What the events have reported, in listing order. `None` before the snapshot.
    known: Option<Vec<Arc<Registration>>>,
    events: VecDeque<Event>,
    is_live: Arc<AtomicBool>,
    /// How long to wait before the next lookup.
    pause: Duration,
}

impl Changes {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            sleep(self.pause).await;
            let shared = self.shared.upgrade()?;
            self.pause = shared.pause();
            match shared.contents().await {
                Ok(contents) => {
                    self.is_live.store(true, Relaxed);
                    self.compare(contents.of(&self.scope));
                }
                Err(error) => {
                    if self.is_live.swap(false, Relaxed) {
                        let (address, error) = (shared.address(), Chain(&error));
                        tracing::warn!(%address, %error, "DNS lookup failed; keeping the last answer");
                    }
                }
            }
        }
    }

    /// Queues the events that lead from the known to the current registrations.
    fn compare(&mut self, current: Vec<Arc<Registration>>) {
        let Some(known) = self.known.replace(current.clone()) else {
            return self.events.push_back(Event::snapshot(current, false));
        };
        let has = |all: &[Arc<Registration>], one: &Registration| {
            all.iter().any(|other| other.endpoint == one.endpoint)
        };
        let left = known.iter().filter(|one| !has(&current, one));
        self.events.extend(left.cloned().map(Event::Left));
        let joined = current.iter().filter(|one| !has(&known, one));
        self.events.extend(joined.cloned().map(Event::Joined));
    }
}
