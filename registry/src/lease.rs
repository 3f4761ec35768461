use std::time::Duration;

/// For how long a registration holds without a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    timeout: Duration,
}

/// How many heartbeats there are to a lease.
const HEARTBEATS: u32 = 3;

impl Lease {
    /// The timeout of registries that say nothing else: 90 s.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(90);

    /// A lease that ends so long after the last heartbeat.
    #[must_use]
    pub fn new(timeout: Duration) -> Self {
        Self { timeout }
    }

    /// How long after the last heartbeat it ends. Default: 90 s.
    #[must_use]
    pub fn timeout(self) -> Duration {
        self.timeout
    }

    /// How often to send a heartbeat: a third of the timeout, 30 s by default, so that one may be lost; and two, if one
    /// that failed is repeated sooner, as a [`RegistrationHandle`](crate::RegistrationHandle) does.
    #[must_use]
    pub fn heartbeat_interval(self) -> Duration {
        self.timeout / HEARTBEATS
    }
}

impl Default for Lease {
    fn default() -> Self {
        Self::new(Self::DEFAULT_TIMEOUT)
    }
}
