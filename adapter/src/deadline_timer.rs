//! A timer whose deadline changes.

use std::{
    future::Future,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use tokio::{
    task::coop::unconstrained,
    time::{Instant, Sleep, sleep_until},
};

/// A timer for a deadline that changes, usually to a later time.
///
/// The underlying [`Sleep`] is reset only if it would fire too late, and not for each new deadline.
#[derive(Debug, Default)]
pub(crate) struct DeadlineTimer(Option<Pin<Box<Sleep>>>);

impl DeadlineTimer {
    /// Returns `Ready` once the deadline has passed.
    ///
    /// The task is woken at the deadline of the last poll, and possibly once at an earlier
    /// deadline.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let timer = self
            .0
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.is_elapsed() || timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        // The timer is polled outside tokio's cooperative budget. If a peer sends without pause,
        // the task spends its whole budget on reads, and would not notice that the deadline has
        // passed.
        while pin!(unconstrained(timer.as_mut())).poll(cx).is_ready() {
            if timer.deadline() >= deadline {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use tokio::task::coop;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_timer_follows_its_deadline_both_ways() {
        let start = Instant::now();
        let mut timer = DeadlineTimer::default();
        let second = |count| start + Duration::from_secs(count);
        let set = poll_fn(|cx| Poll::Ready(timer.poll(cx, second(10)))).await;
        assert!(set.is_pending());
        for (deadline, reached) in [(20, 20), (15, 20), (25, 25)] {
            poll_fn(|cx| timer.poll(cx, second(deadline))).await;
            assert_eq!(start.elapsed().as_secs(), reached);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_has_passed_is_reached_at_once() {
        let start = Instant::now();
        let mut timer = DeadlineTimer::default();
        for _ in 0..3 {
            poll_fn(|cx| timer.poll(cx, start)).await;
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_timer_fires_in_a_task_without_budget() {
        while coop::has_budget_remaining() {
            coop::consume_budget().await;
        }
        let mut timer = DeadlineTimer::default();
        let polled = poll_fn(|cx| Poll::Ready(timer.poll(cx, Instant::now()))).await;
        assert!(polled.is_ready());
    }
}
