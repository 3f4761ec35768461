//! [`RegistryConfig`]: the limits and the lease of a registry.

use std::{ops::RangeInclusive, time::Duration};

use agentwire_transport::internal::MAX_TIMEOUT;

use crate::{Lease, RegistryError};

/// The limits of a registry, and its lease.
///
/// ```
/// use std::time::Duration;
///
/// use agentwire_registry::{DuplicatePolicy, LocalRegistry, RegistryConfig};
///
/// let config = RegistryConfig::new()
///     .lease(Duration::from_secs(15))
///     .duplicates(DuplicatePolicy::Refuse);
/// let registry = LocalRegistry::with_config(config)?;
/// # Ok::<(), agentwire_registry::RegistryError>(())
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

/// How a registry treats a second endpoint under one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum DuplicatePolicy {
    /// Accepts it as another instance of the same agent.
    #[default]
    Allow,
    /// Refuses it, as `DUPLICATE_AGENT`, while the first one is alive.
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
    /// Creates a configuration with the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how long a registration lives without a heartbeat. Default: 90 s; from 10 ms to a year,
    /// rounded down to whole milliseconds.
    pub fn lease(mut self, timeout: Duration) -> Self {
        let excess = Duration::from_nanos(u64::from(timeout.subsec_nanos() % 1_000_000));
        self.lease = Lease::new(timeout.saturating_sub(excess));
        self
    }

    /// Sets how a second endpoint under one name is treated. Default: as another instance.
    pub fn duplicates(mut self, duplicates: DuplicatePolicy) -> Self {
        self.duplicates = duplicates;
        self
    }

    /// Sets the maximum number of registrations. Default: 65 536. Further ones are refused.
    pub fn max_registrations(mut self, registrations: usize) -> Self {
        self.max_registrations = registrations;
        self
    }

    /// Sets the maximum number of instances of one name. Default: 1024. Further ones are refused.
    pub fn max_instances(mut self, instances: usize) -> Self {
        self.max_instances = instances;
        self
    }

    /// Sets the maximum size of the capabilities and metadata of one registration together, in
    /// bytes of JSON. Default: 64 KiB. A larger registration is refused.
    pub fn max_size(mut self, bytes: usize) -> Self {
        self.max_size = bytes;
        self
    }

    /// Sets the maximum memory of all registrations of a [`LocalRegistry`](crate::LocalRegistry)
    /// together, in bytes. Default: 256 MiB. Further registrations are refused. The size is an
    /// estimate. Redis has its own limit, `maxmemory`.
    ///
    /// Snapshots that watches have not read yet come on top: they keep the registrations of their
    /// time alive.
    pub fn max_total_size(mut self, bytes: usize) -> Self {
        self.max_total_size = bytes;
        self
    }

    /// Sets how many unread events are kept for a watch. Default: 1024; at most 2^20. A watch that
    /// falls further behind receives a snapshot instead, marked as a resync.
    pub fn watch_buffer(mut self, events: usize) -> Self {
        self.watch_buffer = events;
        self
    }

    pub(crate) fn refuses_duplicates(&self) -> bool {
        self.duplicates == DuplicatePolicy::Refuse
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

/// The shortest and longest lease. A shorter one would not survive a scheduling hiccup.
const LEASES: RangeInclusive<Duration> = Duration::from_millis(10)..=MAX_TIMEOUT;

/// The largest buffer of a watch. Its memory is allocated when the registry is created.
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
