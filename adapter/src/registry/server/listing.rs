use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use agentwire_codec::{Map, Value};
use agentwire_registry::{
    Query, Registration, Registry, RegistryError, SharedRegistry,
    backend::{QueryExt, RegistrationExt},
};
use tokio::task::yield_now;

use crate::registry::wire::{Cursor, Page};

/// What of a registry is to be listed.
pub(super) enum Asked {
    All,
    Name(String),
    Query(Query),
}

/// How many registrations are asked for at a time.
const BATCH: usize = 256;

/// One page of what is asked for, behind what an earlier one had; and where the next goes on, if there is one.
///
/// It costs what stands on the page and what was passed over, however much is registered.
pub(super) async fn list(
    registry: &SharedRegistry,
    asked: &Asked,
    after: Option<&Cursor>,
    budget: usize,
    mut yielder: Yielder,
) -> Result<(Value, Option<Map>), RegistryError> {
    let (only, query) = match asked {
        Asked::All => (None, None),
        Asked::Name(name) => (Some(&**name), None),
        Asked::Query(query) => (query.required_name(), Some(query)),
    };
    let mut page = Page::new(budget);
    let mut last: Option<Arc<Registration>> = None;
    // The names up to this one are done with.
    let mut behind = None;
    let mut batch = match (only, after) {
        (Some(name), _) => registry.lookup(name).await?,
        (None, Some(after)) => {
            behind = Some(after.name().to_owned());
            registry.lookup(after.name()).await?
        }
        (None, None) => Vec::new(),
    };
    if let Some(after) = after {
        after.cut(&mut batch);
    }
    // What is left of a name may be few.
    let mut is_last = false;
    loop {
        for registration in &batch {
            yielder.yield_if_due().await;
            // What others could not read is on no page, and where the next goes on is told them, too.
            if !registration.is_portable()
                || query.is_some_and(|query| !query.matches(registration))
            {
                continue;
            }
            if !page.push(registration) {
                return Ok((page.into_list(), last.as_deref().map(Cursor::to_map)));
            }
            last = Some(Arc::clone(registration));
        }
        if let Some(registration) = batch.last() {
            behind = Some(registration.name.clone());
        }
        if only.is_some() || is_last {
            return Ok((page.into_list(), None));
        }
        batch = registry.list_after(behind.as_deref(), BATCH).await?;
        is_last = batch.len() < BATCH;
    }
}

/// Yields to other tasks at intervals: matching a query against many registrations can be long work.
pub(super) struct Yielder {
    slice: Duration,
    since: Instant,
}

impl Yielder {
    /// Yields after each `slice` of work.
    pub(super) fn every(slice: Duration) -> Self {
        Self {
            slice,
            since: Instant::now(),
        }
    }

    async fn yield_if_due(&mut self) {
        if self.since.elapsed() >= self.slice {
            yield_now().await;
            self.since = Instant::now();
        }
    }
}

/// How long one listing works before it yields.
pub(super) const WORK_SLICE: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, pin::pin};

    use agentwire_registry::LocalRegistry;
    use agentwire_transport::Endpoint;

    use super::*;

    /// Lists 40 registrations and counts how often the listing yields.
    async fn yields_with(slice: Duration) -> usize {
        let registry = SharedRegistry::new(LocalRegistry::new());
        for number in 0..40 {
            let endpoint = Endpoint::tcp("10.0.0.1", 8000 + number).unwrap();
            let registration = Registration::new(format!("agent {number}"), endpoint);
            registry.register(registration).await.unwrap();
        }
        let query = Asked::Query(Query::new().metadata("key", "value"));
        let yielder = Yielder::every(slice);
        let mut listing = pin!(list(&registry, &query, None, 4096, yielder));
        let mut yields = 0;
        poll_fn(|cx| {
            let poll = listing.as_mut().poll(cx);
            yields += usize::from(poll.is_pending());
            poll.map(Result::unwrap)
        })
        .await;
        yields
    }

    #[tokio::test]
    async fn a_listing_yields_whenever_its_slice_is_over() {
        assert_eq!(yields_with(Duration::ZERO).await, 40);
        assert_eq!(yields_with(Duration::MAX).await, 0);
    }
}
