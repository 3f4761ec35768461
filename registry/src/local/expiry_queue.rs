//! The queue of expiry checks: [`ExpiryQueue`].

use std::{collections::BTreeMap, sync::Arc};

use tokio::time::Instant;

use super::entry::Entry;

/// The entries of a registry, ordered by the times of their next checks.
///
/// Heartbeats do not update the queue. If an entry has not expired when it is checked, it is queued
/// again.
#[derive(Debug, Default)]
pub(super) struct ExpiryQueue(BTreeMap<(Instant, u64), Arc<Entry>>);

impl ExpiryQueue {
    pub(super) fn insert(&mut self, entry: Arc<Entry>) {
        let at = entry.set_queued_at(entry.expires_at());
        self.0.insert((at, entry.id), entry);
    }

    pub(super) fn remove(&mut self, entry: &Entry) {
        self.0.remove(&(entry.queued_at(), entry.id));
    }

    /// Removes and returns the first entry if its check is due.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Arc<Entry>> {
        let first = self.0.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    /// Returns the time of the first check.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.keys().next().map(|(at, _)| *at)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Registration;

    #[test]
    fn an_entry_is_never_due_while_it_is_alive() {
        let start = Instant::now();
        let registration = Registration::new("weather", "memory://weather".parse().unwrap());
        let registration = Arc::new(registration);
        for nanos in [1, 500, 999, 1000, 1001] {
            let lease = Duration::from_secs(90) + Duration::from_nanos(nanos);
            let entry = Arc::new(Entry::new(
                1,
                Arc::clone(&registration),
                None,
                0,
                lease,
                start,
            ));
            let mut queue = ExpiryQueue::default();
            queue.insert(Arc::clone(&entry));
            let last = start + lease - Duration::from_nanos(1);
            assert!(entry.is_live(last) && queue.pop(last).is_none());
            let due = queue.next().unwrap();
            assert!(!entry.is_live(due) && queue.pop(due).is_some());
        }
    }
}
