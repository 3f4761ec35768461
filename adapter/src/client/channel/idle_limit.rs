//! The idle timeout of connections, which is adjusted to the server.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use agentwire_transport::internal::Mutex;
use tokio::time::Instant;

/// The idle timeout of the connections to one server.
///
/// If a server closes an idle connection just as the client sends a request, the client cannot tell
/// whether the agent has seen the request. The client must therefore close idle connections before
/// the server does. If the server closes a connection earlier than expected, the limit is lowered
/// to three quarters of the observed idle time.
#[derive(Debug)]
pub(super) struct IdleLimit {
    configured: Duration,
    /// Whether `learned` is set. Relaxed accesses are sufficient, because a stale value only keeps
    /// one connection open for too long.
    has_learned: AtomicBool,
    learned: Mutex<Option<Learned>>,
}

/// A limit that was learned from a connection that the server closed.
#[derive(Debug, Clone, Copy)]
struct Learned {
    limit: Duration,
    at: Instant,
}

impl IdleLimit {
    pub(super) fn new(configured: Duration) -> Self {
        Self {
            configured,
            has_learned: AtomicBool::new(false),
            learned: Mutex::new(None),
        }
    }

    /// Returns whether idle connections are closed at once.
    pub(super) fn is_zero(&self) -> bool {
        self.configured.is_zero()
    }

    /// Returns the current limit. No lock is acquired unless a limit has been learned.
    pub(super) fn at(&self, now: Instant) -> Duration {
        if !self.has_learned.load(Relaxed) {
            return self.configured;
        }
        let mut learned = self.learned.lock();
        match *learned {
            Some(found) if !found.is_forgotten(now) => found.limit.min(self.configured),
            _ => {
                *learned = None;
                self.has_learned.store(false, Relaxed);
                self.configured
            }
        }
    }

    /// Records that the server has closed a connection that was idle for at most `idle_for`.
    pub(super) fn server_closed_after(&self, idle_for: Duration, now: Instant) {
        // The connection was just in use, so it did not end because it was idle.
        if idle_for < MIN_LIMIT {
            return;
        }
        let mut learned = self.learned.lock();
        let before = learned.filter(|before| !before.is_forgotten(now));
        let limit = idle_for / 4 * 3;
        let limit = before.map_or(limit, |before| limit.min(before.limit));
        *learned = Some(Learned { limit, at: now });
        self.has_learned.store(true, Relaxed);
    }
}

/// The maximum time after the start of a call in which the server may still close the connection
/// because it was idle. If the connection ends later, the cause is another.
pub(super) const CROSSING: Duration = Duration::from_secs(1);

impl Learned {
    fn is_forgotten(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) >= MEMORY
    }
}

/// The time for which a learned limit applies. A server closes all connections when it restarts,
/// and a restart must not lower the limit permanently.
const MEMORY: Duration = Duration::from_secs(600);

/// The shortest idle time that is attributed to the idle timeout of a server.
const MIN_LIMIT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_limit_falls_below_the_time_after_which_the_server_closes() {
        let (limit, now) = (IdleLimit::new(50 * SECOND), Instant::now());
        assert_eq!(limit.at(now), 50 * SECOND);
        limit.server_closed_after(40 * SECOND, now);
        assert_eq!(limit.at(now), 30 * SECOND);
        limit.server_closed_after(20 * SECOND, now);
        assert_eq!(limit.at(now), 15 * SECOND);
        limit.server_closed_after(36 * SECOND, now);
        assert_eq!(limit.at(now), 15 * SECOND, "the lowest counts");
    }

    #[test]
    fn a_limit_is_forgotten_after_a_while() {
        let (limit, now) = (IdleLimit::new(50 * SECOND), Instant::now());
        limit.server_closed_after(4 * SECOND, now);
        assert_eq!(limit.at(now + MEMORY - SECOND), 3 * SECOND);
        assert_eq!(limit.at(now + MEMORY), 50 * SECOND);
        limit.server_closed_after(40 * SECOND, now + MEMORY);
        assert_eq!(limit.at(now + MEMORY), 30 * SECOND);
    }

    #[test]
    fn a_connection_that_was_in_use_teaches_nothing_and_no_limit_is_raised() {
        let (limit, now) = (IdleLimit::new(50 * SECOND), Instant::now());
        limit.server_closed_after(SECOND / 2, now);
        limit.server_closed_after(100 * SECOND, now);
        assert_eq!(limit.at(now), 50 * SECOND);
    }
}
