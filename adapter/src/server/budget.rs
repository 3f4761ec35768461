//! The memory budget of a server: how many bytes the requests of all its connections may hold.
//!
//! Each connection has an allowance that needs no budget, so small calls neither wait for nor lock
//! anything that connections share. What exceeds the allowance is acquired here.
//!
//! A large frame needs memory twice: first for its bytes, then for what they decode to. The bytes
//! of all frames together may hold only a quarter of the budget. The rest stays available for
//! requests that are complete, which wait for handlers only, so a wait never is a deadlock.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    task::{Context, Poll, Waker},
};

use agentwire_transport::internal::Mutex;

use crate::observer::Observers;

/// What memory is acquired for. Each use has a queue of its own, first come, first served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// The bytes of a large frame.
    Receive,
    /// A large request that is complete, or its answer.
    Large,
    /// A small request of a connection whose allowance is used up. It never waits behind large
    /// ones.
    Small,
}

/// Memory that is shared by all connections of a server.
#[derive(Debug)]
pub(super) struct MemoryBudget {
    limits: Limits,
    state: Mutex<State>,
    /// Whether anybody waits. A hint for connections that keep memory they do not need.
    has_waiters: AtomicBool,
    /// Learn how much memory is used.
    observers: Observers,
}

/// How a budget is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    /// All of the budget. Answers may use it up.
    total: usize,
    /// What connections hold without asking, each.
    allowance: usize,
    /// What connections share.
    shared: usize,
    /// What the bytes of frames may hold of the shared memory.
    receive: usize,
    /// What one connection may hold beyond its allowance, in requests and answers.
    connection: usize,
}

#[derive(Debug, Default)]
struct State {
    received: usize,
    held: usize,
    waiting: [VecDeque<Waiter>; 3],
    next_ticket: u64,
}

#[derive(Debug)]
struct Waiter {
    ticket: u64,
    bytes: usize,
    waker: Waker,
}

/// A place in a queue of a [`MemoryBudget`]. It must be passed to [`MemoryBudget::leave`] unless
/// the memory was acquired.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    purpose: Use,
    number: u64,
}

impl Limits {
    /// Divides a budget among connections, of which there are at most `connections`.
    pub(super) fn new(total: usize, connections: usize) -> Self {
        // Sums of limits must not overflow.
        let total = total.min(isize::MAX.unsigned_abs());
        let guaranteed = connections.saturating_mul(MAX_ALLOWANCE).min(total / 4);
        let shared = total - guaranteed;
        // Both fit into the shared memory, so a frame that has been received never waits for the
        // bytes of other frames.
        let receive = total / 4;
        Self {
            total,
            allowance: guaranteed / connections.max(1),
            shared,
            receive,
            connection: total / 2,
        }
    }

    /// Returns what a connection may hold without asking.
    pub(super) fn allowance(&self) -> usize {
        self.allowance
    }

    /// Returns the maximum size of a frame.
    pub(super) fn max_frame(&self) -> usize {
        self.receive
    }

    /// Returns the most that a request may take when it is decoded.
    pub(super) fn max_request(&self) -> usize {
        self.connection
    }
}

impl MemoryBudget {
    pub(super) fn new(limits: Limits, observers: Observers) -> Self {
        Self {
            limits,
            state: Mutex::new(State::default()),
            has_waiters: AtomicBool::new(false),
            observers,
        }
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Acquires memory, or takes a place in the queue and keeps it in `ticket`. The number of bytes
    /// may change from poll to poll; the queue does not.
    ///
    /// More bytes than can ever be free count as all of them.
    pub(super) fn poll_acquire(
        &self,
        cx: &mut Context<'_>,
        ticket: &mut Option<Ticket>,
        purpose: Use,
        bytes: usize,
    ) -> Poll<usize> {
        let purpose = ticket.as_ref().map_or(purpose, |ticket| ticket.purpose);
        let bytes = bytes.min(match purpose {
            Use::Receive => self.limits.receive,
            Use::Large | Use::Small => self.limits.connection,
        });
        let mut state = self.state.lock();
        let known = ticket.as_ref().map(|ticket| ticket.number);
        let is_first = match (state.waiting[purpose as usize].front(), known) {
            (Some(first), Some(number)) => first.ticket == number,
            (Some(_), None) => false,
            (None, _) => true,
        };
        if is_first && state.fits(&self.limits, purpose, bytes) {
            state.add(purpose, bytes);
            if ticket.take().is_some() {
                state.waiting[purpose as usize].pop_front();
            }
            self.wake_next(state);
            self.report(signed(bytes));
            return Poll::Ready(bytes);
        }
        let waker = cx.waker();
        let queue = &mut state.waiting[purpose as usize];
        let waiter = known.and_then(|number| queue.iter_mut().find(|w| w.ticket == number));
        if let Some(waiter) = waiter {
            waiter.bytes = bytes;
            waiter.waker.clone_from(waker);
        } else {
            let number = state.next_ticket;
            state.next_ticket += 1;
            state.waiting[purpose as usize].push_back(Waiter {
                ticket: number,
                bytes,
                waker: waker.clone(),
            });
            *ticket = Some(Ticket { purpose, number });
            self.has_waiters.store(true, Relaxed);
        }
        Poll::Pending
    }

    /// Acquires memory for an answer if there is any left. Answers may use all of the budget, and
    /// never wait, because the handler has made them already.
    pub(super) fn try_acquire_for_answer(&self, bytes: usize) -> bool {
        let mut state = self.state.lock();
        let fits = state.received + state.held + bytes <= self.limits.total;
        if fits {
            state.held += bytes;
            drop(state);
            self.report(signed(bytes));
        }
        fits
    }

    /// Returns memory that was acquired.
    pub(super) fn release(&self, purpose: Use, bytes: usize) {
        if bytes == 0 {
            return;
        }
        let mut state = self.state.lock();
        match purpose {
            Use::Receive => state.received -= bytes,
            Use::Large | Use::Small => state.held -= bytes,
        }
        self.wake_next(state);
        self.report(-signed(bytes));
    }

    /// Gives up a place in the queue.
    pub(super) fn leave(&self, ticket: Ticket) {
        let Ticket { purpose, number } = ticket;
        let mut state = self.state.lock();
        state.waiting[purpose as usize].retain(|waiter| waiter.ticket != number);
        self.wake_next(state);
    }

    /// Returns whether a connection should free what it holds without need.
    pub(super) fn has_waiters(&self) -> bool {
        // A hint: a connection that misses it frees its memory a second later.
        self.has_waiters.load(Relaxed)
    }

    /// Wakes the first waiter of each queue, if there is memory for it.
    fn wake_next(&self, state: impl std::ops::Deref<Target = State>) {
        let uses = [Use::Small, Use::Large, Use::Receive];
        let wakers = uses.map(|purpose| {
            let first = state.waiting[purpose as usize].front()?;
            let fits = state.fits(&self.limits, purpose, first.bytes);
            fits.then(|| first.waker.clone())
        });
        let is_empty = state.waiting.iter().all(VecDeque::is_empty);
        self.has_waiters.store(!is_empty, Relaxed);
        // A waker may run code of the runtime, so not under the lock.
        drop(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    /// Reports a change of the memory in use. Small requests use the allowances of their
    /// connections, which are not counted.
    fn report(&self, change: i64) {
        if change != 0 {
            self.observers
                .report(|observer| observer.memory_changed(change));
        }
    }
}

impl State {
    fn fits(&self, limits: &Limits, purpose: Use, bytes: usize) -> bool {
        let fits = self.received + self.held + bytes <= limits.shared;
        match purpose {
            Use::Receive => fits && self.received + bytes <= limits.receive,
            Use::Large | Use::Small => fits,
        }
    }

    fn add(&mut self, purpose: Use, bytes: usize) {
        match purpose {
            Use::Receive => self.received += bytes,
            Use::Large | Use::Small => self.held += bytes,
        }
    }
}

/// A number of bytes is at most the size of the memory.
fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// The most that a connection holds without asking: enough for frames of the ordinary kind.
const MAX_ALLOWANCE: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::task::noop_waker;

    use super::*;

    const MIB: usize = 1024 * 1024;

    fn budget() -> MemoryBudget {
        // Shared: 192 MiB. Frames: 64 MiB. One connection: 128 MiB.
        MemoryBudget::new(Limits::new(256 * MIB, 1024), Observers::default())
    }

    fn acquire(
        budget: &MemoryBudget,
        ticket: &mut Option<Ticket>,
        purpose: Use,
        mib: usize,
    ) -> bool {
        let waker = noop_waker();
        let mut cx = Context::from_waker(&waker);
        budget
            .poll_acquire(&mut cx, ticket, purpose, mib * MIB)
            .is_ready()
    }

    #[test]
    fn a_budget_is_divided_so_that_no_connection_can_take_more_than_half() {
        let limits = Limits::new(256 * MIB, 1024);
        assert_eq!(limits.allowance(), 64 * 1024);
        assert_eq!(limits.max_request(), 128 * MIB);
        assert_eq!(limits.receive, 64 * MIB);
        // Many connections share a quarter.
        assert_eq!(Limits::new(256 * MIB, 4096).allowance(), 16 * 1024);
        assert_eq!(Limits::new(256 * MIB, usize::MAX).allowance(), 0);
        assert_eq!(Limits::new(0, 0).max_request(), 0);
    }

    #[test]
    fn large_waiters_are_served_in_order_and_small_ones_do_not_wait_behind_them() {
        let budget = budget();
        assert!(acquire(&budget, &mut None, Use::Large, 100));
        let (mut first, mut second) = (None, None);
        assert!(!acquire(&budget, &mut first, Use::Large, 120));
        assert!(!acquire(&budget, &mut second, Use::Large, 10));
        assert!(acquire(&budget, &mut None, Use::Small, 1));
        assert!(acquire(&budget, &mut None, Use::Receive, 10));
        budget.release(Use::Large, 40 * MIB);
        assert!(!acquire(&budget, &mut second, Use::Large, 10));
        assert!(acquire(&budget, &mut first, Use::Large, 120));
        assert_eq!(first, None);
        assert!(!acquire(&budget, &mut second, Use::Large, 10));
        budget.release(Use::Large, 120 * MIB);
        assert!(acquire(&budget, &mut second, Use::Large, 10));
        assert!(!budget.has_waiters());
    }

    #[test]
    fn a_waiter_that_leaves_lets_the_next_one_in() {
        let budget = budget();
        assert!(acquire(&budget, &mut None, Use::Receive, 60));
        let (mut first, mut second) = (None, None);
        assert!(!acquire(&budget, &mut first, Use::Receive, 10));
        assert!(!acquire(&budget, &mut second, Use::Receive, 4));
        budget.leave(first.take().unwrap());
        assert!(acquire(&budget, &mut second, Use::Receive, 4));
    }

    #[test]
    fn frames_leave_memory_for_the_largest_request() {
        let budget = budget();
        for _ in 0..6 {
            assert!(acquire(&budget, &mut None, Use::Receive, 10));
        }
        assert!(!acquire(&budget, &mut None, Use::Receive, 10));
        assert!(acquire(&budget, &mut None, Use::Large, 128));
        assert!(!acquire(&budget, &mut None, Use::Small, 5));
        // Answers may use up what the connections have not asked for.
        assert!(budget.try_acquire_for_answer(60 * MIB));
        assert!(!budget.try_acquire_for_answer(60 * MIB));
    }

    #[test]
    fn the_first_waiter_is_woken_once_its_memory_is_free() {
        let budget = budget();
        let woken = Arc::new(Flag::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut cx = Context::from_waker(&waker);
        assert!(acquire(&budget, &mut None, Use::Large, 128));
        assert!(acquire(&budget, &mut None, Use::Large, 60));
        let mut ticket = None;
        let waiting = budget.poll_acquire(&mut cx, &mut ticket, Use::Large, 100 * MIB);
        assert!(waiting.is_pending());
        budget.release(Use::Large, 60 * MIB);
        assert!(!woken.0.load(Relaxed));
        budget.release(Use::Large, 128 * MIB);
        assert!(woken.0.load(Relaxed));
    }

    #[derive(Default)]
    struct Flag(AtomicBool);

    impl std::task::Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Relaxed);
        }
    }
}
