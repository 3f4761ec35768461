//! The time of the last heartbeat: [`LastHeartbeat`].

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use agentwire_codec::Timestamp;

/// The time of the last heartbeat, in microseconds since 1970. The time is an atomic, so a
/// heartbeat can update a shared registration without copying it.
pub(crate) struct LastHeartbeat(AtomicU64);

impl LastHeartbeat {
    pub(crate) fn new(time: Timestamp) -> Self {
        Self(AtomicU64::new(micros(time)))
    }

    pub(crate) fn set(&self, time: Timestamp) {
        // Relaxed accesses are sufficient, because the time guards no other data.
        self.0.store(micros(time), Ordering::Relaxed);
    }

    pub(crate) fn time(&self) -> Timestamp {
        let elapsed = Duration::from_micros(self.0.load(Ordering::Relaxed));
        Timestamp::from_system_time(UNIX_EPOCH.checked_add(elapsed).unwrap_or(UNIX_EPOCH))
    }
}

/// Returns the microseconds since 1970. Returns 0 for earlier times and for times without an
/// offset.
fn micros(time: Timestamp) -> u64 {
    let elapsed = |time: SystemTime| time.duration_since(UNIX_EPOCH).ok();
    time.to_system_time()
        .and_then(elapsed)
        .and_then(|elapsed| u64::try_from(elapsed.as_micros()).ok())
        .unwrap_or_default()
}

impl Clone for LastHeartbeat {
    fn clone(&self) -> Self {
        Self(AtomicU64::new(self.0.load(Ordering::Relaxed)))
    }
}

impl fmt::Debug for LastHeartbeat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.time(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_returned_in_utc() {
        for (given, expected) in [
            (
                "2025-11-08T12:34:56.789012+00:00",
                "2025-11-08T12:34:56.789012+00:00",
            ),
            ("2025-11-08T12:34:56+02:00", "2025-11-08T10:34:56+00:00"),
            ("1900-01-01T00:00:00+00:00", "1970-01-01T00:00:00+00:00"),
            ("2025-11-08T12:34:56", "1970-01-01T00:00:00+00:00"),
        ] {
            let last = LastHeartbeat::new(given.parse().unwrap());
            assert_eq!(last.time().to_string(), expected);
            assert_eq!(last.clone().time(), last.time());
        }
    }
}
