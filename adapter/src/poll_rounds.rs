//! Polls futures that wake each other: [`PollRounds`].

use std::{
    sync::{
        Arc,
        atomic::{
            AtomicU8,
            Ordering::{AcqRel, Acquire, Release},
        },
    },
    task::{Context, Poll, Wake, Waker},
};

use futures_util::task::AtomicWaker;

/// Polls several futures of one task that wake each other, such as a connection and the calls on
/// it.
///
/// If a future wakes its own task, Tokio queues the task again and wakes another thread to help,
/// which costs system calls. Here, such a wake only starts another round of the same poll.
#[derive(Debug)]
pub(crate) struct PollRounds {
    shared: Arc<Shared>,
    waker: Waker,
}

#[derive(Debug)]
struct Shared {
    state: AtomicU8,
    task: AtomicWaker,
}

/// A round is running, and nothing has been woken in it.
const POLLING: u8 = 0;
/// A wake has arrived that no round has answered.
const WOKEN: u8 = 1;
/// All rounds are over. A wake must reach the task.
const WAITING: u8 = 2;

impl PollRounds {
    pub(crate) fn new() -> Self {
        let shared = Arc::new(Shared {
            state: AtomicU8::new(POLLING),
            task: AtomicWaker::new(),
        });
        Self {
            waker: Waker::from(Arc::clone(&shared)),
            shared,
        }
    }

    /// Polls `round` until it is ready, or pending without a wake.
    pub(crate) fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut round: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let state = &self.shared.state;
        self.shared.task.register(cx.waker());
        for _ in 0..MAX_ROUNDS {
            state.store(POLLING, Release);
            let polled = round(&mut Context::from_waker(&self.waker));
            if polled.is_ready() {
                return polled;
            }
            let is_quiet = state.compare_exchange(POLLING, WAITING, AcqRel, Acquire);
            if is_quiet.is_ok() {
                return Poll::Pending;
            }
        }
        // Other tasks have their turn. The state stays `WOKEN` until then.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.swap(WOKEN, AcqRel) == WAITING {
            self.task.wake();
        }
    }
}

/// The number of rounds after which other tasks have their turn.
const MAX_ROUNDS: usize = 16;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::*;

    /// Counts its wakes.
    #[derive(Default)]
    struct Task(AtomicUsize);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    struct Fixture {
        rounds: PollRounds,
        task: Arc<Task>,
    }

    impl Fixture {
        fn new() -> Self {
            Self {
                rounds: PollRounds::new(),
                task: Arc::default(),
            }
        }

        fn poll<T>(&mut self, round: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
            let waker = Waker::from(Arc::clone(&self.task));
            self.rounds.poll(&mut Context::from_waker(&waker), round)
        }

        fn wakes(&self) -> usize {
            self.task.0.load(SeqCst)
        }
    }

    #[test]
    fn a_wake_during_a_round_starts_another_one_and_wakes_no_task() {
        let mut fixture = Fixture::new();
        let mut rounds = 0;
        let polled = fixture.poll(|cx| {
            rounds += 1;
            if rounds < 3 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(rounds)
        });
        assert_eq!((polled, fixture.wakes()), (Poll::Ready(3), 0));
    }

    #[test]
    fn each_later_wake_reaches_the_task_until_it_polls_again() {
        let mut fixture = Fixture::new();
        let mut kept = None;
        for count in 1..4 {
            let polled = fixture.poll(|cx| {
                kept = Some(cx.waker().clone());
                Poll::<()>::Pending
            });
            assert!(polled.is_pending());
            let waker = kept.as_ref().unwrap();
            waker.wake_by_ref();
            waker.wake_by_ref();
            assert_eq!(fixture.wakes(), count, "two wakes are one");
        }
    }

    #[test]
    fn a_future_that_always_wakes_itself_lets_others_run() {
        let mut fixture = Fixture::new();
        for count in 1..4 {
            let polled = fixture.poll(|cx| {
                cx.waker().wake_by_ref();
                Poll::<()>::Pending
            });
            assert!(polled.is_pending());
            assert_eq!(fixture.wakes(), count);
        }
    }

    #[test]
    fn a_wake_from_another_thread_is_never_lost() {
        for _ in 0..1_000 {
            let mut fixture = Fixture::new();
            let done = Arc::new(AtomicUsize::new(0));
            let mut thread = None;
            let polled = fixture.poll(|cx| {
                let (waker, set) = (cx.waker().clone(), Arc::clone(&done));
                thread.get_or_insert_with(|| {
                    std::thread::spawn(move || {
                        set.store(1, SeqCst);
                        waker.wake();
                    })
                });
                match done.load(SeqCst) {
                    0 => Poll::Pending,
                    _ => Poll::Ready(()),
                }
            });
            thread.unwrap().join().unwrap();
            assert!(polled.is_ready() || fixture.wakes() == 1);
        }
    }
}
