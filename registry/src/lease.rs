//! The leases of registrations: [`Lease`].

use std::time::Duration;

/// The time after which a registration without heartbeats expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    timeout: Duration,
}

impl Lease {
    /// The default lease of a registry: 90 s.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(90);

    /// Creates a lease that expires `timeout` after the last heartbeat.
    #[must_use]
    pub fn new(timeout: Duration) -> Self {
        Self { timeout }
    }

    /// Returns the time from the last heartbeat to the expiry of the lease. The default is 90 s.
    #[must_use]
    pub fn timeout(self) -> Duration {
        self.timeout
    }

    /// Returns the interval at which to send heartbeats, which is a third of the lease. The default
    /// is 30 s.
    ///
    /// With this interval, a lease survives the loss of one heartbeat. A
    /// [`RegistrationHandle`](crate::RegistrationHandle) retries failed heartbeats earlier, so the
    /// lease survives the loss of two heartbeats.
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
