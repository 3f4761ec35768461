use std::{collections::HashMap, sync::Arc};

use agentwire_transport::Endpoint;
use tokio::time::Instant;

use super::entry::Entry;

/// All entries of one name: found by endpoint, whatever their number, and kept in the order in which they are
/// listed.
#[derive(Debug, Default)]
pub(super) struct Instances {
    by_endpoint: HashMap<Endpoint, Arc<Entry>>,
    ordered: Vec<Arc<Entry>>,
}

impl Instances {
    pub(super) fn len(&self) -> usize {
        self.ordered.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ordered.is_empty()
    }

    /// The entry at that endpoint, its lease over or not.
    pub(super) fn at(&self, endpoint: &Endpoint) -> Option<&Arc<Entry>> {
        self.by_endpoint.get(endpoint)
    }

    /// Those whose lease is not over, in order.
    pub(super) fn live(&self, now: Instant) -> impl Iterator<Item = &Arc<Entry>> {
        self.ordered.iter().filter(move |entry| entry.is_live(now))
    }

    /// Puts an entry in, and gives out the one that had its endpoint.
    pub(super) fn insert(&mut self, entry: Arc<Entry>) -> Option<Arc<Entry>> {
        let endpoint = entry.registration.endpoint.clone();
        let replaced = self.by_endpoint.insert(endpoint, Arc::clone(&entry));
        if let Some(replaced) = &replaced {
            self.remove_ordered(replaced);
        }
        let (Ok(position) | Err(position)) = self.position(&entry);
        self.ordered.insert(position, entry);
        replaced
    }

    pub(super) fn remove(&mut self, entry: &Entry) {
        self.by_endpoint.remove(&entry.registration.endpoint);
        self.remove_ordered(entry);
    }

    fn remove_ordered(&mut self, entry: &Entry) {
        if let Ok(position) = self.position(entry) {
            self.ordered.remove(position);
        }
    }

    fn position(&self, entry: &Entry) -> Result<usize, usize> {
        self.ordered
            .binary_search_by(|known| known.registration.listing_order(&entry.registration))
    }
}
