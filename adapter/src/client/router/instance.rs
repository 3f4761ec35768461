//! The instances of an agent, and the calls in flight to each instance.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use agentwire_transport::Endpoint;

use super::health::{FailureEpoch, HealthSnapshot};
use crate::client::channel::{Channel, deadlines::Candidate};

/// An instance of an agent that a client has discovered.
#[derive(Debug)]
pub(super) struct Instance {
    /// A number that distinguishes the instance from earlier instances at the same endpoint.
    pub(super) id: u64,
    pub(super) endpoint: Endpoint,
    /// The number of calls in flight. Relaxed accesses are sufficient, because the number is used
    /// only to compare the load of instances.
    in_flight: AtomicUsize,
    /// The channel to the instance. The first call creates the channel.
    channel: OnceLock<Channel>,
}

/// A guard that counts a call in flight to an instance.
#[derive(Debug)]
pub(super) struct InFlightGuard {
    instance: Arc<Instance>,
    health: Arc<HealthSnapshot>,
    epoch: FailureEpoch,
}

impl Instance {
    pub(super) fn new(id: u64, endpoint: Endpoint) -> Self {
        Self {
            id,
            endpoint,
            in_flight: AtomicUsize::new(0),
            channel: OnceLock::new(),
        }
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Relaxed)
    }

    pub(super) fn channel_or_init(&self, make: impl FnOnce() -> Channel) -> &Channel {
        self.channel.get_or_init(make)
    }

    /// Returns the number of open connections that no call uses.
    pub(super) fn idle(&self) -> usize {
        self.channel.get().map_or(0, Channel::idle)
    }

    /// Stops accepting calls, and closes each connection once its calls have ended.
    pub(super) fn drain(&self) {
        if let Some(channel) = self.channel.get() {
            channel.drain();
        }
    }
}

impl InFlightGuard {
    pub(super) fn new(instance: Arc<Instance>, health: Arc<HealthSnapshot>) -> Self {
        instance.in_flight.fetch_add(1, Relaxed);
        Self {
            epoch: health.epoch(),
            instance,
            health,
        }
    }

    pub(super) fn instance(&self) -> &Arc<Instance> {
        &self.instance
    }

    pub(super) fn health(&self) -> &Arc<HealthSnapshot> {
        &self.health
    }

    pub(super) fn epoch(&self) -> FailureEpoch {
        self.epoch
    }
}

impl Candidate for InFlightGuard {
    fn is_reached(&self) -> bool {
        self.health.is_reached()
    }

    fn has_failed(&self) -> bool {
        self.health.epoch() != self.epoch
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.instance.in_flight.fetch_sub(1, Relaxed);
    }
}
