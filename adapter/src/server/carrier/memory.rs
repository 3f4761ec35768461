//! The memory of the requests and answers of one connection.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use futures_util::FutureExt;

use crate::server::budget::{MemoryBudget, Ticket, Use};

/// The memory of one connection: its own allowance, and the budget of the server.
#[derive(Debug, Clone)]
pub(in crate::server::carrier) struct Memory {
    budget: Arc<MemoryBudget>,
    /// The unused part of the allowance. Only sums matter, so `Relaxed` is sufficient.
    allowance: Arc<AtomicUsize>,
}

impl Memory {
    pub(in crate::server::carrier) fn new(budget: &Arc<MemoryBudget>) -> Self {
        Self {
            allowance: Arc::new(AtomicUsize::new(budget.limits().allowance())),
            budget: Arc::clone(budget),
        }
    }

    /// Returns the maximum memory of a request.
    pub(in crate::server::carrier) fn max_request(&self) -> usize {
        self.budget.limits().max_request()
    }

    /// Acquires memory if there is some now: within the allowance of the connection, or of the
    /// budget if no other request waits for it.
    pub(in crate::server::carrier) fn acquire_now(
        &self,
        purpose: Use,
        bytes: usize,
    ) -> Option<Grant> {
        let allowed = self.try_acquire(bytes);
        allowed.or_else(|| self.acquire(purpose, bytes).now_or_never())
    }

    /// Waits for memory of the budget.
    pub(in crate::server::carrier) async fn acquire(&self, purpose: Use, bytes: usize) -> Grant {
        let mut place = Place {
            budget: &self.budget,
            ticket: None,
        };
        let bytes = poll_fn(|cx| {
            place
                .budget
                .poll_acquire(cx, &mut place.ticket, purpose, bytes)
        });
        Grant {
            bytes: bytes.await,
            source: Source::Budget(Arc::clone(&self.budget), purpose),
        }
    }

    /// Acquires memory for an answer, or returns `None` if the budget is used up.
    pub(in crate::server::carrier) fn for_answer(&self, bytes: usize) -> Option<Grant> {
        self.try_acquire(bytes).or_else(|| {
            let is_acquired = self.budget.try_acquire_for_answer(bytes);
            is_acquired.then(|| Grant {
                bytes,
                source: Source::Budget(Arc::clone(&self.budget), Use::Large),
            })
        })
    }

    /// Acquires what is left of the allowance of the connection.
    #[cfg(feature = "http")]
    pub(in crate::server::carrier) fn rest(&self) -> Grant {
        Grant {
            bytes: self.allowance.swap(0, Relaxed),
            source: Source::Allowance(Arc::clone(&self.allowance)),
        }
    }

    /// Acquires memory within the allowance of the connection. It never waits.
    pub(in crate::server::carrier) fn try_acquire(&self, bytes: usize) -> Option<Grant> {
        let rest = |free: usize| free.checked_sub(bytes);
        let taken = self.allowance.fetch_update(Relaxed, Relaxed, rest);
        taken.is_ok().then(|| Grant {
            bytes,
            source: Source::Allowance(Arc::clone(&self.allowance)),
        })
    }
}

/// Acquired memory, which is released when this value is dropped.
#[derive(Debug)]
pub(in crate::server::carrier) struct Grant {
    bytes: usize,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Allowance(Arc<AtomicUsize>),
    Budget(Arc<MemoryBudget>, Use),
}

impl Grant {
    #[cfg(feature = "http")]
    pub(in crate::server::carrier) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Releases all memory but `bytes`.
    #[cfg(feature = "http")]
    pub(in crate::server::carrier) fn shrink(&mut self, bytes: usize) {
        let excess = self.bytes.saturating_sub(bytes);
        self.release(excess);
    }

    fn release(&mut self, bytes: usize) {
        self.bytes -= bytes;
        match &self.source {
            Source::Allowance(allowance) => {
                allowance.fetch_add(bytes, Relaxed);
            }
            Source::Budget(budget, purpose) => budget.release(*purpose, bytes),
        }
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.release(self.bytes);
    }
}

/// A place in a queue of the budget, which is given up when the wait is dropped.
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
