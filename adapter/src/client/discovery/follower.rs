use std::{sync::Weak, time::Duration};

use agentwire_registry::{Registry, Scope, SharedRegistry};
use tokio::time::sleep;

use super::shared::Shared;
use crate::backoff::Backoff;

/// Keeps what is known of a name as the registry has it. Its owner aborts it; it ends by itself, too, soon after.
///
/// While there is no watch, what was known last counts.
pub(super) async fn follow(shared: Weak<Shared>, registry: SharedRegistry, name: String) {
    let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
    loop {
        let mut watch = registry.watch(Scope::name(name.as_str()));
        while let Some(event) = watch.next().await {
            let event = match event {
                Ok(event) => event,
                Err(error) => {
                    tracing::debug!(name, %error, "the watch of the registry failed");
                    break;
                }
            };
            let Some(shared) = shared.upgrade() else {
                return;
            };
            shared.apply(&event);
            backoff.reset();
        }
        sleep(backoff.next()).await;
    }
}

/// How long to wait before the registry is watched again, once a watch has ended.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
