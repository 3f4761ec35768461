use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker},
};

use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Both ways to stop a server.
#[derive(Clone, Default)]
pub(super) struct Stop {
    /// Take nothing new, finish what is in flight.
    drain: CancellationToken,
    /// Drop everything.
    abort: CancellationToken,
    /// Either of them.
    has_begun: Arc<AtomicBool>,
}

/// How far a server has been stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Serving,
    Draining,
    Aborted,
}

impl Stop {
    pub(super) fn drain(&self) {
        self.has_begun.store(true, SeqCst);
        self.drain.cancel();
    }

    pub(super) fn abort(&self) {
        self.has_begun.store(true, SeqCst);
        self.abort.cancel();
        // Last, because it wakes those that have not heard of anything yet.
        self.drain.cancel();
    }

    /// Resolves when the server takes nothing new, for whichever reason.
    pub(super) async fn begun(&self) {
        self.drain.cancelled().await;
    }

    pub(super) fn watch(&self) -> ShutdownListener {
        ShutdownListener {
            stop: self.clone(),
            stage: Stage::Serving,
            next: Box::pin(self.drain.clone().cancelled_owned()),
            waker: None,
        }
    }
}

/// What one task hears of it.
pub(super) struct ShutdownListener {
    stop: Stop,
    stage: Stage,
    /// For the next stage.
    next: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Who is woken for it.
    waker: Option<Waker>,
}

impl ShutdownListener {
    /// The task is woken for the next stage.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Stage {
        let waits = |waker: &Waker| waker.will_wake(cx.waker());
        // Every connection asks all the time, and what is asked belongs to all of them: a lock for it would
        // be in everybody's way.
        if !self.stop.has_begun.load(SeqCst) && self.waker.as_ref().is_some_and(waits) {
            return self.stage;
        }
        while self.stage != Stage::Aborted {
            if self.next.as_mut().poll(cx).is_pending() {
                self.waker = Some(cx.waker().clone());
                break;
            }
            self.stage = match self.stop.abort.is_cancelled() {
                true => Stage::Aborted,
                false => Stage::Draining,
            };
            self.next = Box::pin(self.stop.abort.clone().cancelled_owned());
        }
        self.stage
    }

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

    async fn stage(watch: &mut ShutdownListener) -> Stage {
        poll_fn(|cx| Poll::Ready(watch.poll(cx))).await
    }

    #[tokio::test]
    async fn each_stage_is_seen_and_one_that_comes_late_sees_the_last() {
        let stop = Stop::default();
        let mut watch = stop.watch();
        for _ in 0..2 {
            assert_eq!(stage(&mut watch).await, Stage::Serving);
        }
        stop.drain();
        assert_eq!(stage(&mut watch).await, Stage::Draining);
        stop.abort();
        assert_eq!(stage(&mut watch).await, Stage::Aborted);
        assert_eq!(stage(&mut stop.watch()).await, Stage::Aborted);
    }

    #[tokio::test]
    async fn who_waits_is_woken_for_each_stage() {
        let (stop, mut watch) = (Stop::default(), Stop::default().watch());
        assert_eq!(stage(&mut watch).await, Stage::Serving);
        for drains_first in [true, false] {
            let stop = stop.clone();
            let mut watch = stop.watch();
            let waiting = tokio::spawn(async move {
                poll_fn(|cx| match watch.poll(cx) {
                    Stage::Serving => Poll::Pending,
                    _ => Poll::Ready(()),
                })
                .await;
                watch.aborted().await;
            });
            tokio::task::yield_now().await;
            if drains_first {
                stop.drain();
                tokio::task::yield_now().await;
                assert!(!waiting.is_finished());
            }
            stop.abort();
            waiting.await.expect("it ends");
        }
    }
}
