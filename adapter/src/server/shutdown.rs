//! The shutdown of a server, by draining or aborting.

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

/// A handle that starts the shutdown of a server and notifies its tasks.
#[derive(Clone, Default)]
pub(super) struct Shutdown {
    /// Cancelled when the server must stop accepting connections and requests.
    drain: CancellationToken,
    /// Cancelled when the server must drop the requests in flight.
    abort: CancellationToken,
    /// Whether a token is cancelled or is about to be cancelled: see [`ShutdownListener::poll`].
    has_started: Arc<AtomicBool>,
}

/// The stage of the shutdown of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Serving,
    Draining,
    Aborted,
}

impl Shutdown {
    /// Makes the server stop accepting connections and requests. Requests in flight are finished.
    pub(super) fn drain(&self) {
        self.has_started.store(true, Relaxed);
        self.drain.cancel();
    }

    /// Makes the server drop all requests in flight.
    pub(super) fn abort(&self) {
        self.has_started.store(true, Relaxed);
        self.abort.cancel();
        // The token `drain` is cancelled last, so that a task woken by `drain` also observes
        // `abort`.
        self.drain.cancel();
    }

    /// Waits until draining or aborting starts.
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

/// A listener that notifies a task of the shutdown.
pub(super) struct ShutdownListener {
    shutdown: Shutdown,
    stage: Stage,
    /// A future that resolves at the next stage.
    next: Pin<Box<WaitForCancellationFutureOwned>>,
    /// The waker that was passed to the last poll of `next`.
    waker: Option<Waker>,
}

impl ShutdownListener {
    /// Returns the current stage. The task is woken at the next stage.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Stage {
        // Every connection calls this method on every turn. Polling a token acquires a lock that
        // all connections share. The flag avoids that lock. `Relaxed` is sufficient. If a task
        // misses the store, it has registered its waker, so the following `cancel` wakes the task.
        // The wake-up makes the store visible to the task.
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

    /// Waits until the server must drop the requests in flight.
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
