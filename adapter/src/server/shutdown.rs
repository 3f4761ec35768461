//! The two ways to stop a server: drain and abort.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
};

use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Starts the shutdown of a server, and tells its tasks.
#[derive(Clone, Default)]
pub(super) struct Shutdown {
    /// Cancelled once nothing new is taken.
    drain: CancellationToken,
    /// Cancelled once requests in flight are dropped.
    abort: CancellationToken,
    /// Whether either is cancelled, or is about to be. See [`ShutdownListener::poll`].
    has_started: Arc<AtomicBool>,
}

/// How far the shutdown of a server has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Serving,
    Draining,
    Aborted,
}

impl Shutdown {
    /// Takes nothing new and finishes what is in flight.
    pub(super) fn drain(&self) {
        self.has_started.store(true, Relaxed);
        self.drain.cancel();
    }

    /// Drops what is in flight.
    pub(super) fn abort(&self) {
        self.has_started.store(true, Relaxed);
        self.abort.cancel();
        // After `abort`, so that a task that this wakes sees both.
        self.drain.cancel();
    }

    /// Waits for either.
    pub(super) async fn started(&self) {
        self.drain.cancelled().await;
    }

    /// Returns a listener for one task.
    pub(super) fn listen(&self) -> ShutdownListener {
        ShutdownListener {
            shutdown: self.clone(),
            stage: Stage::Serving,
            next: Box::pin(self.drain.clone().cancelled_owned()),
            waker: None,
        }
    }
}

/// Lets one task follow the shutdown.
pub(super) struct ShutdownListener {
    shutdown: Shutdown,
    stage: Stage,
    /// Resolves when the next stage begins.
    next: Pin<Box<WaitForCancellationFutureOwned>>,
    /// The waker that `next` was last polled with.
    waker: Option<Waker>,
}

impl ShutdownListener {
    /// Returns the current stage. The task is woken when the next one begins.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Stage {
        // Every connection polls this on every turn, and polling a token takes a lock that all
        // connections share. The flag spares them that. `Relaxed` is enough: a task that misses the
        // store has registered its waker, is woken by the `cancel` that follows, and that wake-up
        // makes the store visible to it.
        let is_registered = |waker: &Waker| waker.will_wake(cx.waker());
        if !self.shutdown.has_started.load(Relaxed)
            && self.waker.as_ref().is_some_and(is_registered)
        {
            return self.stage;
        }
        while self.stage != Stage::Aborted {
            if self.next.as_mut().poll(cx).is_pending() {
                self.waker = Some(cx.waker().clone());
                break;
            }
            self.stage = if self.shutdown.abort.is_cancelled() {
                Stage::Aborted
            } else {
                Stage::Draining
            };
            self.next = Box::pin(self.shutdown.abort.clone().cancelled_owned());
        }
        self.stage
    }

    /// Waits until what is in flight is to be dropped.
    pub(super) async fn aborted(mut self) {
        poll_fn(|cx| match self.poll(cx) {
            Stage::Aborted => Poll::Ready(()),
            Stage::Serving | Stage::Draining => Poll::Pending,
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn stage(listener: &mut ShutdownListener) -> Stage {
        poll_fn(|cx| Poll::Ready(listener.poll(cx))).await
    }

    #[tokio::test]
    async fn each_stage_is_seen_and_a_late_listener_sees_the_last() {
        let shutdown = Shutdown::default();
        let mut listener = shutdown.listen();
        for _ in 0..2 {
            assert_eq!(stage(&mut listener).await, Stage::Serving);
        }
        shutdown.drain();
        assert_eq!(stage(&mut listener).await, Stage::Draining);
        shutdown.abort();
        assert_eq!(stage(&mut listener).await, Stage::Aborted);
        assert_eq!(stage(&mut shutdown.listen()).await, Stage::Aborted);
    }

    #[tokio::test]
    async fn a_waiting_task_is_woken_for_each_stage() {
        for drains_first in [true, false] {
            let shutdown = Shutdown::default();
            let mut listener = shutdown.listen();
            assert_eq!(stage(&mut listener).await, Stage::Serving);
            let waiting = tokio::spawn(async move {
                poll_fn(|cx| match listener.poll(cx) {
                    Stage::Serving => Poll::Pending,
                    _ => Poll::Ready(()),
                })
                .await;
                listener.aborted().await;
            });
            tokio::task::yield_now().await;
            if drains_first {
                shutdown.drain();
                tokio::task::yield_now().await;
                assert!(!waiting.is_finished());
            }
            shutdown.abort();
            waiting.await.expect("it ends");
        }
    }
}
