//! Limits how much a session reads before it yields to other tasks.

use std::time::Duration;

use tokio::time::Instant;

/// The amount of input that a session has read since it was polled.
///
/// A peer that sends requests without pause could keep a session busy forever. A turn therefore
/// limits the number of requests, the number of bytes and the time.
#[derive(Debug, Default)]
pub(super) struct Turn {
    requests: usize,
    bytes: usize,
    /// The time at which the session had read [`REQUESTS_PER_CLOCK`] requests. Shorter turns do not
    /// read the clock.
    since: Option<Instant>,
    is_late: bool,
}

impl Turn {
    /// Counts a request whose payload has `len` bytes.
    pub(super) fn spend(&mut self, len: usize) {
        self.requests += 1;
        self.bytes += len;
        if self.requests % REQUESTS_PER_CLOCK == 0 {
            match self.since {
                None => self.since = Some(Instant::now()),
                Some(since) => self.is_late = since.elapsed() >= MAX_DURATION,
            }
        }
    }

    /// Returns whether the session must flush and yield before it reads more requests.
    pub(super) fn is_over(&self) -> bool {
        self.requests >= MAX_REQUESTS || self.bytes >= MAX_BYTES || self.is_late
    }
}

/// The size of tokio's cooperative budget.
const MAX_REQUESTS: usize = 128;

/// In the worst case, decoding this number of bytes takes a few milliseconds.
const MAX_BYTES: usize = 256 * 1024;

const MAX_DURATION: Duration = Duration::from_millis(1);
const REQUESTS_PER_CLOCK: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_ends_by_count_and_by_bytes() {
        let mut turn = Turn::default();
        for _ in 0..MAX_REQUESTS - 1 {
            turn.spend(100);
        }
        // The time limit may already have ended the turn.
        turn.is_late = false;
        assert!(!turn.is_over());
        turn.spend(100);
        assert!(turn.is_over());
        let mut turn = Turn::default();
        turn.spend(MAX_BYTES - 1);
        assert!(!turn.is_over());
        turn.spend(1);
        assert!(turn.is_over());
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_ends_by_time() {
        let mut turn = Turn::default();
        for _ in 0..REQUESTS_PER_CLOCK {
            turn.spend(1);
        }
        tokio::time::advance(MAX_DURATION).await;
        assert!(!turn.is_over());
        for _ in 0..REQUESTS_PER_CLOCK {
            turn.spend(1);
        }
        assert!(turn.is_over());
    }
}
