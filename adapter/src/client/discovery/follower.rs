use std::{sync::Weak, time::Duration};

use agentwire_registry::{Registry, RegistryError, SharedRegistry, WatchScope};
use agentwire_transport::internal::Backoff;
use tokio::time::{sleep, timeout};

use super::{lookups::LOOKUP_LIMIT, shared::Shared};

/// Keeps what is known of a name as the registry has it. Its owner aborts it; it ends by itself, too, soon after.
///
/// While there is no watch, or none in touch with the registry, calls have it asked.
pub(super) async fn follow(shared: Weak<Shared>, registry: SharedRegistry, name: String) {
    let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
    loop {
        let mut watch = registry.watch(WatchScope::name(name.as_str()));
        loop {
            let next = timeout(LOOK, watch.next()).await;
            let Some(shared) = shared.upgrade() else {
                return;
            };
            match next {
                Ok(Some(Ok(event))) => {
                    shared.apply(&event);
                    backoff.reset();
                }
                // It goes on by itself, with a snapshot.
                Err(_) if !watch.is_live() => shared.lost_watch(),
                Err(_) => {}
                Ok(end) => {
                    if let Some(Err(error)) = end {
                        tracing::debug!(name, %error, "the watch of the registry failed");
                    }
                    shared.lost_watch();
                    break;
                }
            }
        }
        drop(watch);
        sleep(backoff.next_delay()).await;
    }
}

/// Asks the registry for the instances of a name, and again as long as calls came too late for the answer.
pub(super) async fn look_up(
    shared: Weak<Shared>,
    registry: SharedRegistry,
    name: String,
    mut number: u64,
) {
    loop {
        let Some(asked) = shared.upgrade().map(|shared| shared.state().cache.ask()) else {
            return;
        };
        let limit = LOOKUP_LIMIT;
        let looked_up = timeout(limit, registry.lookup(&name)).await;
        let looked_up = looked_up.unwrap_or(Err(RegistryError::NoAnswer { limit }));
        let next = shared
            .upgrade()
            .and_then(|shared| shared.looked_up(number, looked_up, asked));
        match next {
            Some(next) => number = next,
            None => return,
        }
    }
}

/// How long to wait before the registry is watched again, once a watch has ended.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// How often to look whether a watch that tells nothing is still in touch.
const LOOK: Duration = Duration::from_secs(1);
