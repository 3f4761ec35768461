use std::{collections::BTreeMap, sync::Arc};

use tokio::time::Instant;

use super::entry::Entry;

/// Which entries to look at, and when. Lazy: a heartbeat moves nothing here; an entry that turns out to live when
/// its time has come is put back behind.
#[derive(Debug, Default)]
pub(super) struct Expiries(BTreeMap<(Instant, u64), Arc<Entry>>);

impl Expiries {
    pub(super) fn insert(&mut self, entry: Arc<Entry>) {
        let at = entry.queue_at(entry.expires_at());
        self.0.insert((at, entry.id), entry);
    }

    pub(super) fn remove(&mut self, entry: &Entry) {
        self.0.remove(&(entry.queued_at(), entry.id));
    }

    /// Takes the first entry, if its time has come.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Arc<Entry>> {
        let first = self.0.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    /// When to look again.
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
    fn nothing_is_due_while_it_is_alive_however_odd_its_lease() {
        let start = Instant::now();
        let registration = Registration::new("weather", "memory://weather".parse().unwrap());
        let registration = Arc::new(registration);
        for nanos in [1, 500, 999, 1000, 1001] {
            let lease = Duration::from_secs(90) + Duration::from_nanos(nanos);
            let entry = Arc::new(Entry::new(1, Arc::clone(&registration), 0, lease, start));
            let mut expiries = Expiries::default();
            expiries.insert(Arc::clone(&entry));
            let last = start + lease - Duration::from_nanos(1);
            assert!(entry.is_live(last) && expiries.pop(last).is_none());
            let due = expiries.next().unwrap();
            assert!(!entry.is_live(due) && expiries.pop(due).is_some());
        }
    }
}
