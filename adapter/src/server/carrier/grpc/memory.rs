//! The memory that the requests and answers of one connection hold.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use crate::server::budget::{MemoryBudget, Ticket, Use};

/// The memory of one connection. What fits into the allowance of the connection is only counted
/// here; the rest is acquired from the budget that all connections share.
pub(super) struct Memory {
    budget: Arc<MemoryBudget>,
    /// The part of the allowance that is in use. Only the task of the connection changes this
    /// counter, so `Relaxed` is sufficient.
    allowed: AtomicUsize,
}

/// Memory that is released when this value is dropped.
pub(super) struct Held {
    memory: Arc<Memory>,
    from: Source,
    bytes: usize,
}

#[derive(Clone, Copy)]
enum Source {
    Allowance,
    Budget(Use),
}

impl Memory {
    pub(super) fn new(budget: &Arc<MemoryBudget>) -> Arc<Self> {
        Arc::new(Self {
            budget: Arc::clone(budget),
            allowed: AtomicUsize::new(0),
        })
    }

    /// Returns the most that one request may take when it is decoded.
    pub(super) fn max_request(&self) -> usize {
        self.budget.limits().max_request()
    }

    /// Waits for memory for a request. The wait has no limit.
    pub(super) async fn acquire(self: &Arc<Self>, purpose: Use, bytes: usize) -> Held {
        if let Some(held) = self.allow(bytes) {
            return held;
        }
        let mut place = Place {
            budget: &self.budget,
            ticket: None,
        };
        let bytes = poll_fn(|cx| {
            self.budget
                .poll_acquire(cx, &mut place.ticket, purpose, bytes)
        });
        let bytes = bytes.await;
        self.held(Source::Budget(purpose), bytes)
    }

    /// Acquires memory for an answer, which never waits. Returns `None` if the budget is used up.
    pub(super) fn acquire_for_answer(self: &Arc<Self>, bytes: usize) -> Option<Held> {
        self.allow(bytes).or_else(|| {
            let fits = self.budget.try_acquire_for_answer(bytes);
            fits.then(|| self.held(Source::Budget(Use::Large), bytes))
        })
    }

    fn allow(self: &Arc<Self>, bytes: usize) -> Option<Held> {
        let allowed = self.allowed.load(Relaxed) + bytes;
        if allowed > self.budget.limits().allowance() {
            return None;
        }
        self.allowed.store(allowed, Relaxed);
        Some(self.held(Source::Allowance, bytes))
    }

    fn held(self: &Arc<Self>, from: Source, bytes: usize) -> Held {
        Held {
            memory: Arc::clone(self),
            from,
            bytes,
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        match self.from {
            Source::Allowance => {
                self.memory.allowed.fetch_sub(self.bytes, Relaxed);
            }
            Source::Budget(purpose) => self.memory.budget.release(purpose, self.bytes),
        }
    }
}

/// A place in a queue of the budget, which is given up when the wait is cancelled.
struct Place<'a> {
    budget: &'a MemoryBudget,
    ticket: Option<Ticket>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.budget.leave(ticket);
        }
    }
}
