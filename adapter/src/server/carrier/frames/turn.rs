//! How much a session reads before other tasks run.

use std::time::Duration;

use tokio::time::Instant;

/// What a session has read since it was polled.
///
/// One read can bring many requests that are answered at once, so nothing else would stop a peer
/// that never pauses. A turn ends by count, by bytes and by time.
#[derive(Debug, Default)]
pub(super) struct Turn {
    requests: usize,
    bytes: usize,
    /// When the session had read [`REQUESTS_PER_CLOCK`] requests. Shorter turns read no clock.
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

    /// Returns whether the session must flush and yield before it reads more.
    pub(super) fn is_over(&self) -> bool {
        self.requests >= MAX_REQUESTS || self.bytes >= MAX_BYTES || self.is_late
    }
}

/// tokio's cooperative budget.
const MAX_REQUESTS: usize = 128;

/// Requests with this many bytes take some milliseconds to decode at worst.
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
        // The clock may have ended the turn already.
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
