//! Pings after silence, and the timeout of their answers.

use std::{pin::Pin, task::Context, time::Duration};

use tokio::time::{Instant, Sleep, sleep_until};

/// The clock of a connection.
///
/// The timer is only moved when it fires, so a connection with traffic costs no timer operations.
#[derive(Debug)]
pub(super) struct Keepalive {
    interval: Duration,
    timeout: Duration,
    last_alive: Instant,
    ping_sent: Option<Instant>,
    timer: Pin<Box<Sleep>>,
}

/// What the silence of the peer calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Silence {
    /// The peer was heard, or has time to answer.
    Short,
    /// A ping must be sent.
    Ping,
    /// The peer has not answered a ping in time.
    Dead,
}

impl Keepalive {
    pub(super) fn new(interval: Duration, timeout: Duration) -> Self {
        let now = Instant::now();
        Self {
            interval,
            timeout,
            last_alive: now,
            ping_sent: None,
            timer: Box::pin(sleep_until(later(now, interval))),
        }
    }

    /// Records a sign of life. Any bytes that arrive answer a ping.
    pub(super) fn alive(&mut self) {
        self.last_alive = Instant::now();
        self.ping_sent = None;
    }

    /// Checks the clock, and registers the task for the next deadline.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Silence {
        let mut silence = Silence::Short;
        while self.timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            let mut deadline = match self.ping_sent {
                Some(sent) => later(sent, self.timeout),
                None => later(self.last_alive, self.interval),
            };
            if now >= deadline {
                if self.ping_sent.is_some() {
                    return Silence::Dead;
                }
                silence = Silence::Ping;
                self.ping_sent = Some(now);
                deadline = later(now, self.timeout);
            }
            self.timer.as_mut().reset(deadline);
        }
        silence
    }
}

/// Adds a duration to an instant, up to a month, because an instant has a limit.
pub(super) fn later(instant: Instant, duration: Duration) -> Instant {
    instant
        + duration
            .min(Duration::from_secs(30 * 24 * 3600))
            .max(Duration::from_millis(1))
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, task::Poll};

    use tokio::time::advance;

    use super::*;

    async fn poll(keepalive: &mut Keepalive) -> Silence {
        poll_fn(|cx| Poll::Ready(keepalive.poll(cx))).await
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_pinged_once_and_then_ends_the_connection() {
        let second = Duration::from_secs(1);
        let mut keepalive = Keepalive::new(20 * second, 10 * second);
        assert_eq!(poll(&mut keepalive).await, Silence::Short);
        advance(15 * second).await;
        keepalive.alive();
        advance(15 * second).await;
        assert_eq!(poll(&mut keepalive).await, Silence::Short);
        advance(6 * second).await;
        assert_eq!(poll(&mut keepalive).await, Silence::Ping);
        assert_eq!(poll(&mut keepalive).await, Silence::Short);
        keepalive.alive();
        advance(19 * second).await;
        assert_eq!(poll(&mut keepalive).await, Silence::Short);
        advance(2 * second).await;
        assert_eq!(poll(&mut keepalive).await, Silence::Ping);
        advance(11 * second).await;
        assert_eq!(poll(&mut keepalive).await, Silence::Dead);
    }
}
