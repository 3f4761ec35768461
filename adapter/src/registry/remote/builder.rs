use std::time::Duration;

use agentwire_codec::{Format, FrameLimits};
use agentwire_transport::{Endpoint, Error as TransportError, internal::MAX_TIMEOUT};

use super::RemoteRegistry;
use crate::{Error, RemoteAgent, RetryPolicy};

/// How a [`RemoteRegistry`] asks. Made by [`RemoteRegistry::builder`].
#[derive(Debug)]
#[must_use]
pub struct RemoteRegistryBuilder {
    endpoint: Result<Endpoint, TransportError>,
    timeout: Duration,
    silence: Duration,
    max_backoff: Duration,
    frame_limits: FrameLimits,
    format: Format,
}

/// How many watches one client has at a time. They have connections of their own, so that they never take those
/// of calls.
const MAX_WATCHES: usize = 1024;

/// How long a connection is kept for another call. It must be less than the time between two heartbeats, or every agent
/// that is registered would take one for good.
const KEPT: Duration = Duration::from_secs(10);

/// The first wait before a watch connects again.
const FIRST_BACKOFF: Duration = Duration::from_millis(50);

impl RemoteRegistryBuilder {
    pub(super) fn new<E>(endpoint: E) -> Self
    where
        E: TryInto<Endpoint>,
        TransportError: From<E::Error>,
    {
        Self {
            endpoint: endpoint.try_into().map_err(TransportError::from),
            timeout: Duration::from_secs(10),
            silence: Duration::from_secs(45),
            max_backoff: Duration::from_secs(5),
            frame_limits: FrameLimits::default(),
            format: Format::default(),
        }
    }

    /// How long a call may take, connecting and every page of a long list included. Default: 10 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// After how long without a word a watch takes its connection for dead, and connects again. Default: 45 s, which is
    /// three times what a [`RegistryServer`](crate::registry::RegistryServer) is silent for at most.
    pub fn keep_alive_timeout(mut self, limit: Duration) -> Self {
        self.silence = limit;
        self
    }

    /// The longest wait before a watch that was lost connects again; the first is 50 ms, and they double. Default:
    /// 5 s.
    pub fn max_backoff(mut self, longest: Duration) -> Self {
        self.max_backoff = longest.clamp(FIRST_BACKOFF, MAX_TIMEOUT);
        self
    }

    /// How large frames may be. Default: 10 MiB each way.
    pub fn frame_limits(mut self, limits: FrameLimits) -> Self {
        self.frame_limits = limits;
        self
    }

    /// How envelopes are written. Default: JSON.
    pub fn format(mut self, format: Format) -> Self {
        self.format = format;
        self
    }

    /// Checks the settings. It does not connect; the first call does.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidEndpoint`].
    pub fn build(self) -> Result<RemoteRegistry, Error> {
        let endpoint = self.endpoint.map_err(Error::InvalidEndpoint)?;
        let client = |timeout| {
            RemoteAgent::builder(&endpoint)
                .timeout(timeout)
                .frame_limits(self.frame_limits)
                .format(self.format)
        };
        let once = client(self.timeout).idle_limit(KEPT);
        let calls = client(self.timeout)
            .idle_limit(KEPT)
            .retry(RetryPolicy::new().resend(2));
        // One that was refused must not keep a connection that others need.
        let watches = client(self.silence)
            .idle_limit(Duration::ZERO)
            .max_connections(MAX_WATCHES);
        Ok(RemoteRegistry {
            calls: calls.build()?,
            once: once.build()?,
            watches: watches.build()?,
            timeout: self.timeout.min(MAX_TIMEOUT),
            backoff: (FIRST_BACKOFF, self.max_backoff),
        })
    }
}
