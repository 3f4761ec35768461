//! The current time: [`Now`].

use agentwire_codec::Timestamp;
use tokio::time::Instant;

/// The current time of the monotonic clock, which leases use, and of the wall clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) instant: Instant,
    pub(super) wall: Timestamp,
}

impl Now {
    pub(super) fn read() -> Self {
        Self {
            instant: Instant::now(),
            wall: Timestamp::now(),
        }
    }
}
