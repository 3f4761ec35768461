//! `RedisRegistry` against a real Redis.

#![allow(clippy::expect_used, reason = "a test may stop at the first surprise")]

mod contents;
mod contract;
mod failures;
mod outcomes;
mod server;
mod sharing;

use std::{future::Future, sync::Arc, time::Duration};

use agentwire_registry::{Event, Registration, Registry, Watch, WatchScope};
use tokio::time::{interval, timeout};

use self::server::RedisServer;

async fn within<F: Future>(work: F) -> F::Output {
    timeout(LIMIT, work).await.expect("timed out")
}

/// Polls until there is a result.
async fn until<T, F: Future<Output = Option<T>>>(mut poll_once: impl FnMut() -> F) -> T {
    within(async {
        let mut poll = interval(Duration::from_millis(5));
        loop {
            poll.tick().await;
            if let Some(result) = poll_once().await {
                return result;
            }
        }
    })
    .await
}

async fn next(watch: &mut Watch) -> Event {
    let event = within(watch.next()).await.expect("the watch has ended");
    event.expect("the watch has failed")
}

/// Returns a watch whose first snapshot has been read.
async fn watch(registry: &impl Registry, scope: WatchScope) -> Watch {
    let mut watch = registry.watch(scope);
    let first = next(&mut watch).await;
    assert!(
        matches!(first, Event::Snapshot { resync: false, .. }),
        "{first:?}"
    );
    watch
}

/// Waits for a resync, and skips all events before it.
async fn resync(watch: &mut Watch) -> Vec<Arc<Registration>> {
    loop {
        if let Event::Snapshot {
            registrations,
            resync: true,
            ..
        } = next(watch).await
        {
            return registrations;
        }
    }
}

fn agent(name: &str, port: u16) -> Registration {
    let endpoint = format!("tcp://198.51.100.1:{port}");
    Registration::new(name, endpoint.parse().expect("an endpoint"))
}

fn names(registrations: &[Arc<Registration>]) -> Vec<&str> {
    registrations.iter().map(|one| &*one.name).collect()
}

/// The time limit of every operation, generous because it only ends a test that would hang.
const LIMIT: Duration = Duration::from_secs(30);
