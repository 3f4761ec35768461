//! The limits and the lease of a registry: [`RegistryConfig`].

use std::{ops::RangeInclusive, time::Duration};

use agentwire_transport::internal::MAX_TIMEOUT;

use crate::{Lease, RegistryError};

/// The limits and the lease of a registry.
///
/// ```
/// # mod agentwire { pub extern crate agentwire_registry as registry; }
/// use std::time::Duration;
///
/// use agentwire::registry::{DuplicatePolicy, LocalRegistry, RegistryConfig};
///
/// let config = RegistryConfig::new()
///     .lease(Duration::from_secs(15))
///     .duplicates(DuplicatePolicy::Refuse);
/// let registry = LocalRegistry::with_config(config)?;
/// # Ok::<(), agentwire::registry::RegistryError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub struct RegistryConfig {
    pub(crate) lease: Lease,
    pub(crate) duplicates: DuplicatePolicy,
    pub(crate) max_registrations: usize,
    pub(crate) max_instances: usize,
    pub(crate) max_size: usize,
    pub(crate) max_total_size: usize,
    pub(crate) watch_buffer: usize,
}

/// How a registry treats a second endpoint with the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum DuplicatePolicy {
    /// Accepts the second endpoint as another instance of the same agent.
    #[default]
    Allow,
    /// Refuses the second endpoint with `DUPLICATE_AGENT` while the first registration is alive.
    Refuse,
}

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
    /// Creates a configuration with default settings.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the lease, which is the time after which a registration without heartbeats expires. The
    /// default is 90 s. The lease must be between 10 ms and a year, and is rounded down to whole
    /// milliseconds.
    pub fn lease(mut self, timeout: Duration) -> Self {
        let excess = Duration::from_nanos(u64::from(timeout.subsec_nanos() % 1_000_000));
        self.lease = Lease::new(timeout.saturating_sub(excess));
        self
    }

    /// Sets how the registry treats a second endpoint with the same name. By default, the second
    /// endpoint is another instance of the agent.
    pub fn duplicates(mut self, duplicates: DuplicatePolicy) -> Self {
        self.duplicates = duplicates;
        self
    }

    /// Sets the maximum number of registrations. The default is 65,536. Further registrations are
    /// refused.
    pub fn max_registrations(mut self, registrations: usize) -> Self {
        self.max_registrations = registrations;
        self
    }

    /// Sets the maximum number of instances of each name. The default is 1024. Further instances
    /// are refused.
    pub fn max_instances(mut self, instances: usize) -> Self {
        self.max_instances = instances;
        self
    }

    /// Sets the maximum total size of the capabilities and metadata of a registration, in bytes of
    /// JSON. The default is 64 KiB. Larger registrations are refused.
    pub fn max_size(mut self, bytes: usize) -> Self {
        self.max_size = bytes;
        self
    }

    /// Sets the maximum memory for all registrations in a [`LocalRegistry`](crate::LocalRegistry),
    /// in bytes. The default is 256 MiB. Further registrations are refused. The memory of each
    /// registration is estimated. For Redis, set `maxmemory` instead.
    ///
    /// The limit does not include unread events and snapshots of watches inside this process, which
    /// keep old registrations in memory. A watch of a `RegistryServer` holds no snapshot.
    pub fn max_total_size(mut self, bytes: usize) -> Self {
        self.max_total_size = bytes;
        self
    }

    /// Sets the maximum number of unread events of a watch. The default is 1024, and the maximum is
    /// 2^20. If the limit is exceeded, the watch receives a snapshot that is marked as a resync.
    pub fn watch_buffer(mut self, events: usize) -> Self {
        self.watch_buffer = events;
        self
    }

    pub(crate) fn refuses_duplicates(&self) -> bool {
        self.duplicates == DuplicatePolicy::Refuse
    }

    /// # Errors
    ///
    /// Returns [`RegistryError::InvalidSetting`] if a setting is out of range.
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

/// The minimum and maximum lease. A shorter lease could expire because of a scheduling delay.
const LEASES: RangeInclusive<Duration> = Duration::from_millis(10)..=MAX_TIMEOUT;

/// The maximum number of buffered events. The buffer is allocated when the registry is created.
const MAX_WATCH_BUFFER: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_rounded_down_to_milliseconds_which_every_backend_can_keep() {
        let third = RegistryConfig::new().lease(Duration::from_secs(100) / 3);
        assert_eq!(third.lease.timeout(), Duration::from_millis(33_333));
        assert!(RegistryConfig::new().lease(Duration::MAX).check().is_err());
    }
}
