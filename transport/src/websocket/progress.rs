//! The least rate of a message whose fragments are collected.

use std::{future::Future, pin::Pin, task::Context, time::Duration};

use tokio::time::{Instant, Sleep, sleep_until};

use super::keepalive::later;

/// A window of time in which a peer must send a part of an incomplete message. After a window with
/// enough bytes, the next one starts.
#[derive(Debug)]
pub(super) struct Progress {
    timeout: Duration,
    window: Option<Window>,
}

#[derive(Debug)]
struct Window {
    /// The number of bytes of the message at the start of the window.
    before: usize,
    end: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Progress {
    pub(super) fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            window: None,
        }
    }

    /// Returns whether an incomplete message arrives fast enough. `collected` is the number of its
    /// bytes, or `None` if there is none. The task is woken at the end of the window.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, collected: Option<usize>) -> bool {
        let Some(collected) = collected else {
            self.window = None;
            return true;
        };
        let now = Instant::now();
        let end = later(now, self.timeout);
        let window = self.window.get_or_insert_with(|| Window {
            before: collected,
            end,
            timer: Box::pin(sleep_until(end)),
        });
        // Fewer bytes are those of another message.
        let is_enough = match collected.checked_sub(window.before) {
            Some(arrived) => arrived as u128 >= least(self.timeout),
            None => true,
        };
        if is_enough {
            (window.before, window.end) = (collected, end);
            window.timer.as_mut().reset(end);
        }
        // The clock decides: a timer is not ready in a task that has spent its budget.
        if now >= window.end {
            return false;
        }
        if window.timer.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        true
    }
}

/// Returns how many bytes must arrive within a window.
fn least(timeout: Duration) -> u128 {
    (timeout.as_nanos() * MIN_RATE / 1_000_000_000).max(1)
}

/// The least rate in bytes per second (PROTOCOL 8.5).
const MIN_RATE: u128 = 16 * 1024;
