//! The memory that the requests and replies of one connection use.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use crate::server::budget::{MemoryBudget, Ticket, Use};

/// The memory of one connection.
///
/// Memory within the allowance of the connection is only counted here. Memory in excess of the
/// allowance is acquired from the budget that all connections share.
pub(super) struct Account {
    budget: Arc<MemoryBudget>,
    /// The memory of the requests in flight. Only the task of the connection uses this counter, so
    /// `Relaxed` is sufficient.
    requests: Arc<AtomicUsize>,
    /// The memory that is reserved for the request that is being decoded.
    reserved: usize,
    /// The memory of the queued replies.
    replies: usize,
    /// The memory that was acquired for requests and replies.
    shared: usize,
    /// The memory that was acquired for the read buffer.
    received: usize,
    /// The place of the connection in a queue of the budget.
    ticket: Option<Ticket>,
}

/// The memory of a request, which is released when this value is dropped.
pub(super) struct Charge {
    bytes: usize,
    requests: Arc<AtomicUsize>,
}

impl Account {
    pub(super) fn new(budget: &Arc<MemoryBudget>) -> Self {
        Self {
            budget: Arc::clone(budget),
            requests: Arc::default(),
            reserved: 0,
            replies: 0,
            shared: 0,
            received: 0,
            ticket: None,
        }
    }

    /// Returns the maximum memory of a request.
    pub(super) fn max_request(&self) -> usize {
        self.budget.limits().max_request()
    }

    /// Returns the memory that the connection may use without acquiring memory.
    pub(super) fn free(&self) -> usize {
        (self.allowance() + self.shared).saturating_sub(self.used())
    }

    /// Reserves memory for the request that is decoded next. Replaces an earlier reservation.
    pub(super) fn poll_reserve(
        &mut self,
        cx: &mut Context<'_>,
        purpose: Use,
        bytes: usize,
    ) -> Poll<()> {
        self.cancel();
        let missing = bytes.saturating_sub(self.free());
        if missing > 0 {
            if self.shared + missing > self.max_request() {
                // The connection waits for its own requests and replies, which wake its task.
                self.leave();
                return Poll::Pending;
            }
            let budget = &self.budget;
            self.shared += ready!(budget.poll_acquire(cx, &mut self.ticket, purpose, missing));
        }
        self.leave();
        self.reserved = bytes;
        Poll::Ready(())
    }

    /// Acquires memory for the bytes of a frame.
    pub(super) fn poll_receive(&mut self, cx: &mut Context<'_>, bytes: usize) -> Poll<()> {
        let missing = bytes.saturating_sub(self.received);
        if missing > 0 {
            let budget = &self.budget;
            self.received +=
                ready!(budget.poll_acquire(cx, &mut self.ticket, Use::Receive, missing));
        }
        Poll::Ready(())
    }

    /// Releases the memory of the read buffer.
    pub(super) fn release_received(&mut self) {
        if self.received > 0 {
            self.budget.release(Use::Receive, self.received);
            self.received = 0;
        }
    }

    /// Returns whether other connections wait for memory.
    pub(super) fn has_waiters(&self) -> bool {
        self.budget.has_waiters()
    }

    /// Replaces the reservation with the memory of a decoded request.
    pub(super) fn charge(&mut self, bytes: usize) -> Charge {
        self.requests.fetch_add(bytes, Relaxed);
        self.reserved = 0;
        self.settle();
        Charge {
            bytes,
            requests: Arc::clone(&self.requests),
        }
    }

    /// Cancels the reservation.
    fn cancel(&mut self) {
        if self.reserved > 0 {
            self.reserved = 0;
            self.settle();
        }
    }

    /// Sets the memory of the queued replies. Returns `false`, and changes nothing, if the budget
    /// is exhausted.
    pub(super) fn set_replies(&mut self, bytes: usize) -> bool {
        if bytes > self.replies {
            let missing = (bytes - self.replies).saturating_sub(self.free());
            if missing > 0 {
                if !self.budget.try_acquire_for_answer(missing) {
                    return false;
                }
                self.shared += missing;
            }
        }
        self.replies = bytes;
        self.settle();
        true
    }

    /// Releases the acquired memory that is no longer used.
    pub(super) fn settle(&mut self) {
        if self.shared > 0 {
            let unused = self.free().min(self.shared);
            self.budget.release(Use::Large, unused);
            self.shared -= unused;
        }
    }

    /// Gives up the place in the queue. A connection that does not poll for memory must not block
    /// the connections behind it.
    pub(super) fn leave(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.budget.leave(ticket);
        }
    }

    fn used(&self) -> usize {
        self.requests.load(Relaxed) + self.reserved + self.replies
    }

    fn allowance(&self) -> usize {
        self.budget.limits().allowance()
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.leave();
        self.release_received();
        self.budget.release(Use::Large, self.shared);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.requests.fetch_sub(self.bytes, Relaxed);
    }
}
