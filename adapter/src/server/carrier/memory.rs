//! The memory of the requests and answers of one connection.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use futures_util::FutureExt;
use tokio::sync::Notify;

use crate::server::budget::{MemoryBudget, Ticket, Use};

/// The memory of one connection: its own allowance, and its part of the budget of the server.
#[derive(Debug, Clone)]
pub(in crate::server::carrier) struct Memory {
    budget: Arc<MemoryBudget>,
    connection: Arc<Connection>,
}

/// What one connection uses. Only sums matter, so `Relaxed` is sufficient.
#[derive(Debug)]
struct Connection {
    /// The unused part of the allowance.
    allowance: AtomicUsize,
    /// What the connection holds of the budget, for each [`Part`].
    held: [AtomicUsize; 3],
    /// Wakes the requests of the connection that wait for each other.
    freed: Notify,
}

/// What a connection holds memory for. A request acquires memory of the parts in this order, so
/// that the requests of a connection never wait for each other in a circle.
#[derive(Debug, Clone, Copy)]
enum Part {
    /// Bytes that have arrived.
    Received,
    /// Bytes that have been decompressed.
    #[cfg_attr(
        not(feature = "grpc"),
        expect(dead_code, reason = "only gRPC compresses")
    )]
    Unpacked,
    /// Requests and answers.
    Decoded,
}

/// Memory that counts for a connection until this value is dropped.
#[derive(Debug)]
struct Share {
    connection: Arc<Connection>,
    part: Part,
    bytes: usize,
}

impl Memory {
    pub(in crate::server::carrier) fn new(budget: &Arc<MemoryBudget>) -> Self {
        Self {
            connection: Arc::new(Connection {
                allowance: AtomicUsize::new(budget.limits().allowance()),
                held: Default::default(),
                freed: Notify::new(),
            }),
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

    /// Waits for memory for decompressed bytes.
    #[cfg(feature = "grpc")]
    pub(in crate::server::carrier) async fn acquire_unpacked(
        &self,
        purpose: Use,
        bytes: usize,
    ) -> Grant {
        match self.try_acquire(bytes) {
            Some(allowed) => allowed,
            None => self.acquire_part(Part::Unpacked, purpose, bytes).await,
        }
    }

    /// Waits for memory of the budget.
    pub(in crate::server::carrier) async fn acquire(&self, purpose: Use, bytes: usize) -> Grant {
        let part = match purpose {
            Use::Receive => Part::Received,
            Use::Large | Use::Small => Part::Decoded,
        };
        self.acquire_part(part, purpose, bytes).await
    }

    /// Waits until the connection holds less than its limit, and then for memory of the budget.
    async fn acquire_part(&self, part: Part, purpose: Use, bytes: usize) -> Grant {
        let mut share = loop {
            let mut freed = pin!(self.connection.freed.notified());
            freed.as_mut().enable();
            if let Some(share) = self.share(part, bytes) {
                break share;
            }
            freed.await;
        };
        let mut place = Place {
            budget: &self.budget,
            ticket: None,
        };
        let acquired = poll_fn(|cx| {
            place
                .budget
                .poll_acquire(cx, &mut place.ticket, purpose, bytes)
        });
        let bytes = acquired.await;
        share.shrink(bytes);
        Grant {
            bytes,
            source: Source::Budget(Arc::clone(&self.budget), purpose, share),
        }
    }

    /// Acquires memory for an answer, or returns `None` if the budget is used up, or the part of
    /// the connection.
    pub(in crate::server::carrier) fn for_answer(&self, bytes: usize) -> Option<Grant> {
        self.try_acquire(bytes).or_else(|| {
            let share = self.share(Part::Decoded, bytes)?;
            let is_acquired = self.budget.try_acquire_for_answer(bytes);
            is_acquired.then(|| Grant {
                bytes,
                source: Source::Budget(Arc::clone(&self.budget), Use::Large, share),
            })
        })
    }

    /// Counts memory of the budget for the connection, unless the connection then holds more than
    /// its limit. A connection that holds none may exceed the limit.
    fn share(&self, part: Part, bytes: usize) -> Option<Share> {
        let limits = self.budget.limits();
        let limit = match part {
            Part::Received => limits.max_frame() / 2,
            Part::Unpacked => limits.max_request() / 2,
            Part::Decoded => limits.max_request(),
        };
        let add = |held: usize| {
            let sum = held.saturating_add(bytes);
            (held == 0 || sum <= limit).then_some(sum)
        };
        let held = &self.connection.held[part as usize];
        let is_counted = held.fetch_update(Relaxed, Relaxed, add).is_ok();
        is_counted.then(|| Share {
            connection: Arc::clone(&self.connection),
            part,
            bytes,
        })
    }

    /// Acquires what is left of the allowance of the connection.
    #[cfg(feature = "http")]
    pub(in crate::server::carrier) fn rest(&self) -> Grant {
        Grant {
            bytes: self.connection.allowance.swap(0, Relaxed),
            source: Source::Allowance(Arc::clone(&self.connection)),
        }
    }

    /// Acquires memory within the allowance of the connection. It never waits.
    pub(in crate::server::carrier) fn try_acquire(&self, bytes: usize) -> Option<Grant> {
        let rest = |free: usize| free.checked_sub(bytes);
        let allowance = &self.connection.allowance;
        let taken = allowance.fetch_update(Relaxed, Relaxed, rest);
        taken.is_ok().then(|| Grant {
            bytes,
            source: Source::Allowance(Arc::clone(&self.connection)),
        })
    }
}

impl Share {
    /// Counts only `bytes`.
    fn shrink(&mut self, bytes: usize) {
        let excess = self.bytes.saturating_sub(bytes);
        if excess > 0 {
            self.bytes -= excess;
            self.connection.held[self.part as usize].fetch_sub(excess, Relaxed);
            self.connection.freed.notify_waiters();
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shrink(0);
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
    Allowance(Arc<Connection>),
    Budget(Arc<MemoryBudget>, Use, Share),
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
        match &mut self.source {
            Source::Allowance(connection) => {
                connection.allowance.fetch_add(bytes, Relaxed);
            }
            Source::Budget(budget, purpose, share) => {
                budget.release(*purpose, bytes);
                share.shrink(self.bytes);
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{observer::Observers, server::budget::Limits};

    const TOTAL: usize = 1000;

    /// Returns the memory of two connections. They have no allowance.
    fn connections() -> [Memory; 2] {
        let limits = Limits::new(TOTAL, usize::MAX);
        let budget = Arc::new(MemoryBudget::new(limits, Observers::default()));
        [Memory::new(&budget), Memory::new(&budget)]
    }

    #[tokio::test]
    async fn the_requests_and_answers_of_one_connection_hold_half_of_the_budget() {
        let [memory, other] = connections();
        let mut grants: Vec<_> = (0..5).map(|_| memory.for_answer(50).unwrap()).collect();
        for _ in 0..5 {
            grants.push(memory.acquire_now(Use::Large, 50).unwrap());
        }
        assert!(memory.acquire_now(Use::Large, 1).is_none());
        assert!(memory.for_answer(1).is_none());
        let mut waiting = pin!(memory.acquire(Use::Large, 50));
        assert!(waiting.as_mut().now_or_never().is_none());
        assert_eq!(other.acquire_now(Use::Large, 200).unwrap().bytes, 200);
        // A part of a grant is not enough.
        grants[9].release(49);
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(grants.pop());
        assert_eq!(waiting.await.bytes, 50);
        // A wait that is given up counts for nothing.
        drop(memory.acquire(Use::Large, 500).now_or_never());
        drop(grants);
        assert_eq!(
            memory.connection.held[Part::Decoded as usize].load(Relaxed),
            0
        );
        // One request may take as much as the whole connection.
        assert_eq!(
            memory.acquire_now(Use::Large, 2 * TOTAL).unwrap().bytes,
            500
        );
    }

    #[tokio::test]
    async fn the_bytes_that_one_connection_sends_hold_half_of_their_part() {
        let [memory, other] = connections();
        let mut first = memory.acquire_now(Use::Receive, 200).unwrap();
        assert!(memory.acquire_now(Use::Receive, 10).is_none());
        first.release(100);
        assert!(memory.acquire_now(Use::Receive, 10).is_some());
        assert!(other.acquire_now(Use::Receive, 100).is_some());
        // Decompressed bytes never wait for bytes that have arrived.
        #[cfg(feature = "grpc")]
        assert!(
            memory
                .acquire_unpacked(Use::Large, 100)
                .now_or_never()
                .is_some()
        );
    }
}
