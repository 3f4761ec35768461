use std::time::Duration;

use agentwire_transport::internal::MAX_TIMEOUT;

use crate::{Lease, RegistryError};

/// What a registry takes, and for how long.
///
/// ```
/// use std::time::Duration;
///
/// use agentwire_registry::{DuplicatePolicy, LocalRegistry, RegistryConfig};
///
/// let config = RegistryConfig::new().lease(Duration::from_secs(15)).duplicates(DuplicatePolicy::Refuse);
/// let registry = LocalRegistry::with_config(config)?;
/// # Ok::<(), agentwire_registry::RegistryError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub struct RegistryConfig {
    lease: Lease,
    duplicates: DuplicatePolicy,
    max_registrations: usize,
    max_instances: usize,
    max_size: usize,
    max_total_size: usize,
    watch_buffer: usize,
}

/// What becomes of a second endpoint under one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum DuplicatePolicy {
    /// It is another instance of the same agent.
    #[default]
    Allow,
    /// It is refused, as `DUPLICATE_AGENT`, as long as the first one is alive.
    Refuse,
}

/// The shortest and longest lease. A longer one is as good as none; a shorter one does not outlive a hiccup.
const LEASES: std::ops::RangeInclusive<Duration> = Duration::from_millis(10)..=MAX_TIMEOUT;

/// The largest buffer of a watch. Its memory is taken when the registry is made.
const MAX_WATCH_BUFFER: usize = 1 << 20;

impl Default for RegistryConfig {
    fn default() -> Self {
        Self {
            lease: Lease::default(),
            duplicates: DuplicatePolicy::default(),
            max_registrations: 65_536,
            max_instances: 1024,
            max_size: 64 * 1024,
            max_total_size: 256 * 1024 * 1024,
            watch_buffer: 1024,
        }
    }
}

impl RegistryConfig {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// For how long a registration holds without a heartbeat. Default: 90 s; from 10 ms to a year, in whole
    /// milliseconds: what is over is cut.
    pub fn lease(mut self, timeout: Duration) -> Self {
        let over = Duration::from_nanos(u64::from(timeout.subsec_nanos() % 1_000_000));
        self.lease = Lease::new(timeout.saturating_sub(over));
        self
    }

    /// What becomes of a second endpoint under one name. Default: it is another instance.
    pub fn duplicates(mut self, duplicates: DuplicatePolicy) -> Self {
        self.duplicates = duplicates;
        self
    }

    /// How many registrations there are at most. Default: 65 536. Further ones are refused.
    pub fn max_registrations(mut self, registrations: usize) -> Self {
        self.max_registrations = registrations;
        self
    }

    /// How many instances of one name there are at most. Default: 1024. Further ones are refused.
    pub fn max_instances(mut self, instances: usize) -> Self {
        self.max_instances = instances;
        self
    }

    /// How large capabilities and metadata of one registration may be together, in bytes of JSON. Default:
    /// 64 KiB. A larger one is refused.
    pub fn max_size(mut self, bytes: usize) -> Self {
        self.max_size = bytes;
        self
    }

    /// How much memory all registrations of a [`LocalRegistry`](crate::LocalRegistry) may take, in bytes, as near as it
    /// can tell. Default: 256 MiB. Further ones are refused. A Redis has its own limit, `maxmemory`.
    ///
    /// What is held for readers comes on top: a snapshot that they have not read yet keeps what was registered then.
    pub fn max_total_size(mut self, bytes: usize) -> Self {
        self.max_total_size = bytes;
        self
    }

    /// How many events a reader of a watch may be behind. Default: 1024; at most 2^20. One that is further behind
    /// is given the present state instead, marked as a resync.
    pub fn watch_buffer(mut self, events: usize) -> Self {
        self.watch_buffer = events;
        self
    }

    /// What those who register are told.
    #[must_use]
    pub fn offered_lease(&self) -> Lease {
        self.lease
    }

    pub(crate) fn refuses_duplicates(&self) -> bool {
        self.duplicates == DuplicatePolicy::Refuse
    }

    pub(crate) fn registration_limit(&self) -> usize {
        self.max_registrations
    }

    pub(crate) fn instance_limit(&self) -> usize {
        self.max_instances
    }

    pub(crate) fn size_limit(&self) -> usize {
        self.max_size
    }

    pub(crate) fn total_size_limit(&self) -> usize {
        self.max_total_size
    }

    pub(crate) fn watch_capacity(&self) -> usize {
        self.watch_buffer
    }

    /// # Errors
    ///
    /// [`RegistryError::InvalidSetting`].
    pub(crate) fn check(&self) -> Result<(), RegistryError> {
        let require = |met: bool, setting, problem| {
            met.then_some(())
                .ok_or(RegistryError::InvalidSetting { setting, problem })
        };
        require(
            LEASES.contains(&self.lease.timeout()),
            "lease",
            "must be between 10 ms and a year",
        )?;
        require(
            (1..=MAX_WATCH_BUFFER).contains(&self.watch_buffer),
            "watch_buffer",
            "must be between 1 and 2^20",
        )?;
        for (setting, number) in [
            ("max_registrations", self.max_registrations),
            ("max_instances", self.max_instances),
            ("max_total_size", self.max_total_size),
        ] {
            require(number > 0, setting, "must be at least 1")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_told_as_all_registries_can_keep_it() {
        let third = RegistryConfig::new().lease(Duration::from_secs(100) / 3);
        let lease = third.offered_lease().timeout();
        assert_eq!(lease, Duration::from_millis(33_333));
        assert!(RegistryConfig::new().lease(Duration::MAX).check().is_err());
    }
}
