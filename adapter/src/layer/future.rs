//! Futures of layers. Each holds the work of the wrapped agent once, because work that is moved
//! from future to future costs more than most layers do.

use std::{
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;

pin_project! {
    /// Work whose answer a layer sees before the caller does. If the work panics or is dropped
    /// without an answer, `see` is dropped.
    pub(super) struct Seen<F, S> {
        #[pin]
        work: F,
        see: Option<S>,
    }
}

impl<F: Future, S: FnOnce(&F::Output)> Seen<F, S> {
    pub(super) fn new(work: F, see: S) -> Self {
        Self {
            work,
            see: Some(see),
        }
    }
}

impl<F: Future, S: FnOnce(&F::Output)> Future for Seen<F, S> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let unwinding = Unwinding(this.see);
        let polled = this.work.poll(cx);
        let mut see = mem::ManuallyDrop::new(unwinding);
        let answer = ready!(polled);
        if let Some(see) = see.0.take() {
            see(&answer);
        }
        Poll::Ready(answer)
    }
}

/// Drops a value if the work panics, so that the drop sees the panic. The future itself may be
/// dropped after the panic was caught.
struct Unwinding<'a, S>(&'a mut Option<S>);

impl<S> Drop for Unwinding<'_, S> {
    fn drop(&mut self) {
        self.0.take();
    }
}

pin_project! {
    /// Work that is followed by other work if it fails.
    pub(super) struct OrElse<F, R, S> {
        #[pin]
        first: Option<F>,
        recover: Option<R>,
        second: Option<Pin<Box<S>>>,
    }
}

impl<F, R, S> OrElse<F, R, S> {
    pub(super) fn new(first: F, recover: R) -> Self {
        Self {
            first: Some(first),
            recover: Some(recover),
            second: None,
        }
    }
}

impl<T, E, F, R, S> Future for OrElse<F, R, S>
where
    F: Future<Output = Result<T, E>>,
    R: FnOnce(E) -> S,
    S: Future<Output = Result<T, E>>,
{
    type Output = Result<T, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T, E>> {
        let mut this = self.project();
        if let Some(first) = this.first.as_mut().as_pin_mut() {
            let error = match ready!(first.poll(cx)) {
                Err(error) => error,
                answer => return Poll::Ready(answer),
            };
            // The first work ends before the second starts.
            this.first.set(None);
            match this.recover.take() {
                Some(recover) => *this.second = Some(Box::pin(recover(error))),
                None => return Poll::Ready(Err(error)),
            }
        }
        match this.second {
            Some(second) => second.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::{pending, poll_fn, ready},
        panic::{AssertUnwindSafe, catch_unwind},
        sync::atomic::{AtomicU32, Ordering::Relaxed},
    };

    use futures_util::FutureExt;

    use super::*;

    /// Counts its drop, and whether the thread was panicking.
    struct Dropped<'a>(&'a AtomicU32, &'a AtomicU32);

    impl Drop for Dropped<'_> {
        fn drop(&mut self) {
            self.0.fetch_add(1, Relaxed);
            self.1
                .fetch_add(u32::from(std::thread::panicking()), Relaxed);
        }
    }

    #[test]
    fn an_answer_is_seen_once_and_work_without_one_only_drops_what_would_see_it() {
        let (drops, panics, seen) = (AtomicU32::new(0), AtomicU32::new(0), AtomicU32::new(0));
        let see = || {
            let dropped = Dropped(&drops, &panics);
            let seen = &seen;
            move |answer: &u32| {
                let _dropped = &dropped;
                seen.fetch_add(*answer, Relaxed);
            }
        };
        assert_eq!(Seen::new(ready(7), see()).now_or_never(), Some(7));
        assert_eq!((seen.load(Relaxed), drops.load(Relaxed)), (7, 1));
        assert_eq!(Seen::new(pending(), see()).now_or_never(), None);
        assert_eq!((seen.load(Relaxed), drops.load(Relaxed)), (7, 2));
        let work = async { panic!("as the test wants") };
        let mut panics_at_poll = Box::pin(Seen::new(work, see()));
        let polled = catch_unwind(AssertUnwindSafe(|| panics_at_poll.as_mut().now_or_never()));
        assert!(polled.is_err());
        // The future still exists.
        assert_eq!((drops.load(Relaxed), panics.load(Relaxed)), (3, 1));
        drop(panics_at_poll);
        assert_eq!((drops.load(Relaxed), seen.load(Relaxed)), (3, 7));
    }

    #[test]
    fn failed_work_is_dropped_before_what_follows_it_starts() {
        let (drops, panics) = (AtomicU32::new(0), AtomicU32::new(0));
        for (first, expected) in [(Ok(1), 1), (Err(2), 20)] {
            drops.store(0, Relaxed);
            let dropped = Dropped(&drops, &panics);
            let mut first = ready(first);
            let work = poll_fn(move |cx| {
                let _dropped = &dropped;
                first.poll_unpin(cx)
            });
            let work = OrElse::new(work, |error: u32| {
                assert_eq!(drops.load(Relaxed), 1);
                ready(Ok(error * 10))
            });
            assert_eq!(work.now_or_never(), Some(Ok(expected)));
        }
    }
}
