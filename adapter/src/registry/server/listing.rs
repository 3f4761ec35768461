use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use agentwire_codec::{Map, Value};
use agentwire_registry::{Query, Registration, Registry, RegistryError, SharedRegistry};
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
) -> Result<(Value, Option<Map>), RegistryError> {
    let (only, query) = match asked {
        Asked::All => (None, None),
        Asked::Name(name) => (Some(&**name), None),
        Asked::Query(query) => (query.only_name(), Some(query)),
    };
    let mut page = Page::new(budget);
    let (mut last, mut pace): (Option<Arc<Registration>>, _) = (None, Pace::new());
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
            pace.keep().await;
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
        batch = registry.list_behind(behind.as_deref(), BATCH).await?;
        is_last = batch.len() < BATCH;
    }
}

/// Lets others have their turn every now and then: a query may be much work.
struct Pace(Instant);

/// How long to work before it.
const SLICE: Duration = Duration::from_millis(1);

impl Pace {
    fn new() -> Self {
        Self(Instant::now())
    }

    async fn keep(&mut self) {
        if self.0.elapsed() >= SLICE {
            yield_now().await;
            self.0 = Instant::now();
        }
    }
}
