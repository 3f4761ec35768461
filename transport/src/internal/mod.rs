//! Small items that the crates of this workspace share. This module is exempt from semver.

mod affinity;
mod backoff;
mod chain;
mod log_rate;
mod sync;

use std::time::Duration;

pub use agentwire_text::{Escaped, Untrusted};

#[cfg(feature = "websocket")]
pub use crate::websocket::{accept_key, is_key};

pub use self::{
    affinity::RuntimeAffinity,
    backoff::{Backoff, jittered},
    chain::{Chain, sources},
    log_rate::{LogEdge, LogLimit},
    sync::{Mutex, RwLock},
};

/// Returns the user of this process, or `None` if the system has no users with numbers.
pub fn own_uid() -> Option<u32> {
    #[cfg(unix)]
    return Some(rustix::process::geteuid().as_raw());
    #[cfg(not(unix))]
    None
}

/// The maximum duration of a timeout, wait or lease: one year.
///
/// Longer durations are reduced to this maximum, because adding them to an `Instant` can overflow.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 3600);
