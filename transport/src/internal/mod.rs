//! Small items that every crate of this workspace shares. Not covered by semver.

mod backoff;
mod chain;
mod log_rate;
mod sync;

use std::time::Duration;

pub use agentwire_text::Untrusted;

pub use self::{
    backoff::{Backoff, jittered},
    chain::{Chain, sources},
    log_rate::{LogEdge, LogLimit},
    sync::{Mutex, RwLock},
};

/// The longest timeout, wait or lease: one year.
///
/// Longer durations are clamped to this one, since adding them to an `Instant` may overflow.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 3600);
