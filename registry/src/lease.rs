//! [`Lease`]: how long a registration lives without a heartbeat.

use std::time::Duration;

/// The time that a registration lives without a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    timeout: Duration,
}

impl Lease {
    /// The timeout of a registry that is not configured otherwise: 90 s.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(90);

    /// Creates a lease that expires `timeout` after the last heartbeat.
    #[must_use]
    pub fn new(timeout: Duration) -> Self {
        Self { timeout }
    }

    /// Returns how long after the last heartbeat the lease expires. Default: 90 s.
    #[must_use]
    pub fn timeout(self) -> Duration {
        self.timeout
    }

    /// Returns how often to send a heartbeat: every third of the timeout, by default 30 s.
    ///
    /// One heartbeat may then be lost; two, if a failed one is retried sooner, as a
    /// [`RegistrationHandle`](crate::RegistrationHandle) does.
    #[must_use]
    pub fn heartbeat_interval(self) -> Duration {
        self.timeout / HEARTBEATS_PER_LEASE
    }
}

impl Default for Lease {
    fn default() -> Self {
        Self::new(Self::DEFAULT_TIMEOUT)
    }
}

const HEARTBEATS_PER_LEASE: u32 = 3;
