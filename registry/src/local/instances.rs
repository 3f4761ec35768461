//! The entries with the same name: [`Instances`].

use std::{collections::HashMap, sync::Arc};

use agentwire_transport::Endpoint;
use tokio::time::Instant;

use super::entry::Entry;
use crate::backend::RegistrationExt;

/// The entries with the same name, in listing order. An entry can be found by its endpoint in
/// constant time.
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

    /// Returns the entry at an endpoint, even if it has expired.
    pub(super) fn get(&self, endpoint: &Endpoint) -> Option<&Arc<Entry>> {
        self.by_endpoint.get(endpoint)
    }

    /// Returns the entries that have not expired, in listing order.
    pub(super) fn live(&self, now: Instant) -> impl Iterator<Item = &Arc<Entry>> {
        self.ordered.iter().filter(move |entry| entry.is_live(now))
    }

    /// Inserts an entry. Returns the previous entry at the same endpoint.
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
