//! Lists the registrations of a registry in pages.

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

use super::reader::Reader;
use crate::{
    registry::wire::{Cursor, Page},
    server::{Scope, show},
};

/// The registrations that a client requests.
pub(super) enum ListRequest {
    All,
    Name(String),
    Query(Query),
}

/// Returns the page of a list that starts after the given cursor. If there are more pages, also
/// returns the cursor for the next page.
///
/// The cost depends on the number of registrations that are returned or skipped, and not on the
/// total number of registrations.
pub(super) async fn list(
    registry: &SharedRegistry,
    request: &ListRequest,
    after: Option<&Cursor>,
    reader: &Reader,
    budget: usize,
    mut yielder: Yielder,
) -> Result<(Value, Option<Map>), RegistryError> {
    let (only, query) = match request {
        ListRequest::All => (None, None),
        ListRequest::Name(name) => (Some(&**name), None),
        ListRequest::Query(query) => (query.required_name(), Some(query)),
    };
    let scope = reader.scope();
    let prefix = scope.map(Scope::prefix).unwrap_or_default();
    let mut page = Page::new(budget);
    let mut last: Option<Arc<Registration>> = None;
    // The name up to which all registrations have been listed.
    let mut listed_name = None;
    let mut batch = match (only, after) {
        (Some(name), _) => registry.lookup(name).await?,
        (None, Some(after)) => {
            listed_name = Some(after.name().to_owned());
            registry.lookup(after.name()).await?
        }
        (None, None) => Vec::new(),
    };
    if let Some(after) = after {
        after.skip(&mut batch);
    }
    // A short batch is the last batch only if `list_after` has returned the batch. The first batch
    // may also be short, because it contains only the registrations of one name.
    let mut is_last = false;
    loop {
        for registration in &batch {
            yielder.yield_if_due().await;
            // Omit registrations that the reader cannot call or did not request. An omitted
            // registration cannot be a cursor.
            if !registration.is_portable()
                || !reader.sees(registration)
                || query.is_some_and(|query| !query.matches(registration))
            {
                continue;
            }
            let shown = show(scope, registration);
            if !page.push(&shown) {
                return Ok((page.into_list(), last.as_deref().map(Cursor::to_map)));
            }
            last = Some(shown.into_owned());
        }
        if let Some(registration) = batch.last() {
            listed_name = Some(registration.name.clone());
        }
        let is_beyond = |name: &String| **name > *prefix && !name.starts_with(prefix);
        if only.is_some() || is_last || listed_name.as_ref().is_some_and(is_beyond) {
            return Ok((page.into_list(), None));
        }
        if listed_name.is_none() && !prefix.is_empty() {
            // The names of a namespace follow their prefix, which is not a name itself.
            listed_name = Some(prefix.to_owned());
        }
        batch = registry.list_after(listed_name.as_deref(), BATCH).await?;
        is_last = batch.len() < BATCH;
    }
}

/// Yields to other tasks at intervals, because matching a query against many registrations can take
/// a long time.
pub(super) struct Yielder {
    slice: Duration,
    since: Instant,
}

impl Yielder {
    /// Creates a `Yielder` that yields whenever a `slice` of time has passed.
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

/// The minimum number of registrations that are read from the registry at once.
const BATCH: usize = 256;

/// The time for which a listing runs before it yields.
pub(super) const WORK_SLICE: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, pin::pin};

    use agentwire_registry::LocalRegistry;
    use agentwire_transport::{Endpoint, Peer};

    use super::*;

    /// Lists 40 registrations, and returns how many times the listing yields.
    async fn yields_with(slice: Duration) -> usize {
        let registry = SharedRegistry::new(LocalRegistry::new());
        for number in 0..40 {
            let endpoint = Endpoint::tcp("10.0.0.1", 8000 + number).unwrap();
            let registration = Registration::new(format!("agent {number}"), endpoint);
            registry.register(registration).await.unwrap();
        }
        let query = ListRequest::Query(Query::new().metadata("key", "value"));
        let reader = Reader::new(&Peer::from("here"), &Map::new()).unwrap();
        let yielder = Yielder::every(slice);
        let mut listing = pin!(list(&registry, &query, None, &reader, 4096, yielder));
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
