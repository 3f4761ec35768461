use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use agentwire_transport::Endpoint;

use super::health::{Record, Since};
use crate::client::target::Target;

/// One instance of the agent, as this client sees it.
#[derive(Debug)]
pub(super) struct Member {
    /// Tells it from those that were at the same endpoint before.
    pub(super) id: u64,
    pub(super) endpoint: Endpoint,
    in_flight: AtomicUsize,
    /// Made when it is first called.
    target: OnceLock<Target>,
}

/// A call that goes to an instance, for as long as it lives.
#[derive(Debug)]
pub(super) struct Visit {
    member: Arc<Member>,
    record: Arc<Record>,
    since: Since,
}

impl Member {
    pub(super) fn new(id: u64, endpoint: Endpoint) -> Self {
        Self {
            id,
            endpoint,
            in_flight: AtomicUsize::new(0),
            target: OnceLock::new(),
        }
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Relaxed)
    }

    pub(super) fn target_or(&self, make: impl FnOnce() -> Target) -> &Target {
        self.target.get_or_init(make)
    }

    pub(super) fn target(&self) -> Option<&Target> {
        self.target.get()
    }

    /// Lets no more calls be made over its connections. Those that are waited for go on, and then their connections
    /// are closed.
    pub(super) fn retire(&self) {
        if let Some(target) = self.target.get() {
            target.retire();
        }
    }
}

impl Visit {
    pub(super) fn new(member: Arc<Member>, record: Arc<Record>) -> Self {
        member.in_flight.fetch_add(1, Relaxed);
        Self {
            since: record.now(),
            member,
            record,
        }
    }

    pub(super) fn member(&self) -> &Arc<Member> {
        &self.member
    }

    pub(super) fn record(&self) -> &Arc<Record> {
        &self.record
    }

    pub(super) fn since(&self) -> Since {
        self.since
    }

    /// The instance has failed since it was chosen.
    pub(super) fn is_outdated(&self) -> bool {
        self.record.now() != self.since
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.member.in_flight.fetch_sub(1, Relaxed);
    }
}
