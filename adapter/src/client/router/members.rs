//! The instances of an agent that a registry has listed.

use std::{collections::HashSet, mem, sync::Arc};

use agentwire_registry::Registration;
use agentwire_transport::{
    Endpoint,
    internal::{Backoff, LogLimit, Untrusted},
};
use tokio::time::Instant;

use super::{entry::Entry, instance::Instance};

/// The known instances of an agent. The events of the registry change the list.
///
/// An instance becomes unconfirmed if its lease expires, or if the registry stops listing the
/// instance without reporting that it left. The agent may be unable to reach the registry, or the
/// registry may have lost its data. An unconfirmed instance is removed
/// [`Lease::DEFAULT_TIMEOUT`](agentwire_registry::Lease::DEFAULT_TIMEOUT) after its last answer.
#[derive(Debug)]
pub(super) struct Members {
    entries: Vec<Entry>,
    /// The backoff of a failed instance.
    backoff: Backoff,
    next_id: u64,
}

impl Members {
    pub(super) fn new(backoff: Backoff) -> Self {
        Self {
            entries: Vec::new(),
            backoff,
            next_id: 0,
        }
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(super) fn entries_mut(&mut self) -> &mut [Entry] {
        &mut self.entries
    }

    /// Returns the position of an instance in [`entries`](Self::entries).
    pub(super) fn position(&self, instance: u64) -> Option<usize> {
        let mut entries = self.entries.iter();
        entries.position(|entry| entry.instance.id == instance)
    }

    pub(super) fn entry_mut(&mut self, instance: u64) -> Option<&mut Entry> {
        let mut entries = self.entries.iter_mut();
        entries.find(|entry| entry.instance.id == instance)
    }

    /// Removes the instance at a position.
    pub(super) fn remove(&mut self, index: usize) -> Arc<Instance> {
        self.entries.remove(index).instance
    }

    /// Returns the number of instances that have not expired.
    pub(super) fn len(&self, now: Instant) -> usize {
        let entries = self.entries.iter();
        entries.filter(|entry| !entry.is_expired(now)).count()
    }

    pub(super) fn is_empty(&self, now: Instant) -> bool {
        self.entries.iter().all(|entry| entry.is_expired(now))
    }

    /// Returns whether any instance is confirmed.
    pub(super) fn has_confirmed(&self) -> bool {
        self.entries.iter().any(Entry::is_confirmed)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Instance>> {
        self.entries.iter().map(|entry| &entry.instance)
    }

    /// Adds or updates an instance. If another process has registered at a known endpoint, replaces
    /// the instance, and returns the previous one. Its connections may still lead to the previous
    /// process.
    pub(super) fn join(&mut self, registration: &Registration) -> Option<Arc<Instance>> {
        let known = (self.entries.iter_mut())
            .find(|entry| entry.instance.endpoint == registration.endpoint);
        if let Some(entry) = known {
            entry.unlisted_since = None;
            if entry.registered_as == registration.instance {
                return None;
            }
            let successor = Entry::new(self.next_id, registration, &self.backoff);
            self.next_id += 1;
            return Some(mem::replace(entry, successor).instance);
        }
        let mut removed = None;
        if self.entries.len() >= MAX_INSTANCES {
            let unconfirmed = self.entries.iter().position(|entry| !entry.is_confirmed());
            let Some(unconfirmed) = unconfirmed else {
                if let Some(count) = IGNORED.record(Instant::now()) {
                    let endpoint = Untrusted(&registration.endpoint);
                    tracing::warn!(%endpoint, max = MAX_INSTANCES, count, "too many instances; ignoring one");
                }
                return None;
            };
            removed = Some(self.entries.remove(unconfirmed).instance);
        }
        let entry = Entry::new(self.next_id, registration, &self.backoff);
        self.entries.push(entry);
        self.next_id += 1;
        removed
    }

    /// Marks an instance whose lease has expired as unconfirmed. The agent may be unable to reach
    /// the registry.
    pub(super) fn expire(&mut self, endpoint: &Endpoint, now: Instant) {
        let at = |entry: &&mut Entry| entry.instance.endpoint == *endpoint;
        if let Some(entry) = self.entries.iter_mut().find(at) {
            entry.mark_unlisted(now);
        }
    }

    /// Removes the instance at an endpoint.
    pub(super) fn leave(&mut self, endpoint: &Endpoint) -> Option<Arc<Instance>> {
        let at = |entry: &Entry| entry.instance.endpoint == *endpoint;
        let index = self.entries.iter().position(at)?;
        Some(self.entries.remove(index).instance)
    }

    /// Applies a complete list of registrations, and returns the expired and replaced instances.
    pub(super) fn reconcile(
        &mut self,
        listed: &[Arc<Registration>],
        now: Instant,
    ) -> Vec<Arc<Instance>> {
        let endpoints: HashSet<&Endpoint> = listed.iter().map(|one| &one.endpoint).collect();
        for entry in &mut self.entries {
            if !endpoints.contains(&entry.instance.endpoint) {
                entry.mark_unlisted(now);
            }
        }
        let mut removed: Vec<_> = listed.iter().filter_map(|one| self.join(one)).collect();
        removed.extend(self.remove_expired(now));
        removed
    }

    /// Removes and returns the expired instances.
    pub(super) fn remove_expired(&mut self, now: Instant) -> Vec<Arc<Instance>> {
        if self.entries.iter().all(Entry::is_confirmed) {
            return Vec::new();
        }
        let is_expired = |entry: &Entry| entry.is_expired(now);
        let entries = mem::take(&mut self.entries).into_iter();
        let (expired, kept): (Vec<_>, Vec<_>) = entries.partition(is_expired);
        self.entries = kept;
        expired.into_iter().map(|entry| entry.instance).collect()
    }
}

/// The maximum number of instances that a client uses. By default, a registry accepts the same
/// number of instances of each name.
pub(super) const MAX_INSTANCES: usize = 1024;

/// The rate is limited because a registry can list any number of instances.
static IGNORED: LogLimit = LogLimit::new();
