//! The entries of a table, by name and by the time of their next check.

use std::{
    collections::{BTreeSet, HashMap},
    ops::Bound,
    sync::Arc,
};

use tokio::time::Instant;

use super::{entry::Entry, expiry_queue::ExpiryQueue, instances::Instances};
use crate::{Query, Registration, backend::QueryExt};

/// The entries of a table.
#[derive(Debug, Default)]
pub(super) struct Index {
    names: HashMap<String, Instances>,
    /// The keys of `names`, in order.
    ordered: BTreeSet<String>,
    len: usize,
    /// The approximate size of all entries in bytes.
    size: usize,
    expiries: ExpiryQueue,
}

impl Index {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Returns the approximate size of all entries in bytes.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Returns the instances of a name, some of which may have expired.
    pub(super) fn instances(&self, name: &str) -> Option<&Instances> {
        self.names.get(name)
    }

    /// Returns the entry with the same name and endpoint, even if it has expired.
    pub(super) fn get(&self, registration: &Registration) -> Option<Arc<Entry>> {
        let instances = self.names.get(&registration.name)?;
        instances.get(&registration.endpoint).map(Arc::clone)
    }

    /// Adds an entry. Returns whether the entry replaces another with the same name and endpoint.
    pub(super) fn insert(&mut self, entry: Arc<Entry>) -> bool {
        self.size += entry.size;
        self.expiries.insert(Arc::clone(&entry));
        let name = &entry.registration.name;
        if !self.names.contains_key(name) {
            self.ordered.insert(name.clone());
        }
        let instances = self.names.entry(name.clone()).or_default();
        let Some(replaced) = instances.insert(entry) else {
            self.len += 1;
            return false;
        };
        self.expiries.remove(&replaced);
        self.size -= replaced.size;
        true
    }

    pub(super) fn remove(&mut self, entry: &Entry) {
        self.expiries.remove(entry);
        let name = &entry.registration.name;
        if let Some(instances) = self.names.get_mut(name) {
            instances.remove(entry);
            self.len -= 1;
            self.size -= entry.size;
            if instances.is_empty() {
                self.names.remove(name);
                self.ordered.remove(name);
            }
        }
    }

    /// Returns all live instances of a name, in listing order.
    pub(super) fn lookup(&self, name: &str, now: Instant) -> Vec<Arc<Registration>> {
        let instances = self.names.get(name).into_iter();
        let live = instances.flat_map(|instances| instances.live(now));
        live.map(|entry| Arc::clone(&entry.registration)).collect()
    }

    /// Returns all live registrations, in any order.
    pub(super) fn all(&self, now: Instant) -> Vec<Arc<Registration>> {
        let mut all = Vec::with_capacity(self.len);
        let live = self.names.values().flat_map(|names| names.live(now));
        all.extend(live.map(|entry| Arc::clone(&entry.registration)));
        all
    }

    /// Returns the live instances of the names after `name`, in listing order. The list ends with
    /// the last instance of the name at which `count` is reached.
    pub(super) fn list_after(
        &self,
        name: Option<&str>,
        count: usize,
        now: Instant,
    ) -> Vec<Arc<Registration>> {
        let first = name.map_or(Bound::Unbounded, Bound::Excluded);
        let mut found = Vec::new();
        for name in self.ordered.range::<str, _>((first, Bound::Unbounded)) {
            if found.len() >= count {
                break;
            }
            found.extend(self.lookup(name, now));
        }
        found
    }

    /// Returns all registrations that may match a query, in any order.
    pub(super) fn candidates(&self, query: &Query, now: Instant) -> Vec<Arc<Registration>> {
        match query.required_name() {
            Some(name) => self.lookup(name, now),
            None => self.all(now),
        }
    }

    /// Returns the time of the next check, or `None` if there is no entry.
    pub(super) fn next_check(&self) -> Option<Instant> {
        self.expiries.next()
    }

    /// Takes an entry out of the queue, if its check is due. The caller removes the entry or
    /// [queues it again](Self::queue).
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Arc<Entry>> {
        self.expiries.pop(now)
    }

    /// Queues an entry for its next check.
    pub(super) fn queue(&mut self, entry: Arc<Entry>) {
        self.expiries.insert(entry);
    }

    /// Returns whether there is nothing left of any entry.
    #[cfg(test)]
    pub(super) fn is_clean(&self) -> bool {
        let is_unnamed = self.names.is_empty() && self.ordered.is_empty();
        is_unnamed && self.expiries.len() == 0 && (self.len, self.size) == (0, 0)
    }
}
