//! The slots of open connections, from which the acceptor chooses a connection to evict.

use std::{
    sync::{
        Arc, Weak,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    task::Context,
};

use futures_util::task::AtomicWaker;
use tokio::time::Instant;

use crate::{
    observer::ConnectionGuard,
    server::{ConnectionId, PeerKey},
};

/// The part of a session that the acceptor can see. Each session has its own slot, so that sessions
/// share no lock.
pub(super) struct Slot {
    base: Instant,
    /// The nanoseconds from `base` to the last accepted request, or `BUSY`.
    quiet_since: AtomicU64,
    is_evicted: AtomicBool,
    waker: AtomicWaker,
    connection: ConnectionId,
    /// Reports the end of the connection to the observer, if there is one.
    observed: Option<Box<ConnectionGuard>>,
}

impl Slot {
    /// Returns the id of the connection.
    pub(super) fn connection(&self) -> ConnectionId {
        self.connection
    }

    /// Tells the observer why the connection ends.
    pub(super) fn ends_with(&self, reason: &'static str) {
        if let Some(observed) = &self.observed {
            observed.ends_with(reason);
        }
    }

    /// Publishes since when the session has been quiet, or `None` while it must not be evicted.
    pub(super) fn publish(&self, quiet_since: Option<Instant>) {
        let since = quiet_since.map_or(BUSY, |since| {
            let nanos = since.saturating_duration_since(self.base).as_nanos();
            u64::try_from(nanos).unwrap_or(BUSY - 1)
        });
        // Relaxed, because the session itself decides whether it can be evicted.
        self.quiet_since.store(since, Relaxed);
    }

    /// Returns whether the acceptor has asked for the connection since the last call. The task is
    /// woken when the acceptor asks.
    pub(super) fn poll_evicted(&self, cx: &mut Context<'_>) -> bool {
        self.waker.register(cx.waker());
        self.is_evicted.load(Acquire) && self.is_evicted.swap(false, Acquire)
    }
}

/// The slots of the open connections of one listener.
pub(super) struct Slots {
    base: Instant,
    slots: Vec<(PeerKey, Weak<Slot>)>,
}

/// A session that was asked to close its connection.
pub(super) struct Eviction(Weak<Slot>);

impl Eviction {
    /// Returns whether the session has declined, because it has work.
    pub(super) fn is_declined(&self) -> bool {
        let slot = self.0.upgrade();
        slot.is_some_and(|slot| !slot.is_evicted.load(Acquire))
    }
}

impl Slots {
    pub(super) fn new() -> Self {
        Self {
            base: Instant::now(),
            slots: Vec::new(),
        }
    }

    /// Adds the slot of a new connection, which cannot be evicted before its session has started.
    pub(super) fn add(
        &mut self,
        peer: PeerKey,
        connection: ConnectionId,
        observed: Option<Box<ConnectionGuard>>,
    ) -> Arc<Slot> {
        if self.slots.len() == self.slots.capacity() {
            self.forget_closed();
        }
        let slot = Arc::new(Slot {
            base: self.base,
            quiet_since: AtomicU64::new(BUSY),
            is_evicted: AtomicBool::new(false),
            waker: AtomicWaker::new(),
            connection,
            observed,
        });
        self.slots.push((peer, Arc::downgrade(&slot)));
        slot
    }

    /// Returns whether `peer` has at least `share` open connections.
    pub(super) fn has_share(&mut self, peer: &PeerKey, share: usize) -> bool {
        // Most servers have fewer connections than the share of any peer.
        if self.slots.len() < share {
            return false;
        }
        self.forget_closed();
        let own = self.slots.iter().filter(|(owner, _)| owner == peer);
        own.count() >= share
    }

    /// Asks the session that has been quiet for the longest time to close its connection. With
    /// `peer`, only connections of that peer are considered. Returns `None` if all sessions have
    /// work.
    pub(super) fn evict_one(&self, peer: Option<&PeerKey>) -> Option<Eviction> {
        let slots = self.slots.iter();
        let slots = slots.filter(|(owner, _)| peer.is_none_or(|peer| owner == peer));
        let slots = slots.filter_map(|(_, slot)| slot.upgrade());
        let quiet = slots.filter_map(|slot| {
            let since = slot.quiet_since.load(Relaxed);
            let is_candidate = since != BUSY && !slot.is_evicted.load(Relaxed);
            is_candidate.then_some((since, slot))
        });
        let (_, slot) = quiet.min_by_key(|(since, _)| *since)?;
        slot.is_evicted.store(true, Release);
        slot.waker.wake();
        Some(Eviction(Arc::downgrade(&slot)))
    }

    fn forget_closed(&mut self) {
        self.slots.retain(|(_, slot)| slot.strong_count() > 0);
    }
}

/// Marks a session that must not be evicted.
const BUSY: u64 = u64::MAX;
