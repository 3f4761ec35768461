//! The builder of a [`RemoteRegistry`].

use std::time::Duration;

use agentwire_codec::{Format, FrameLimits};
use agentwire_transport::{Endpoint, Error as TransportError, internal::MAX_TIMEOUT};

use super::RemoteRegistry;
use crate::{Error, RemoteAgent};

/// A builder for a [`RemoteRegistry`], returned by [`RemoteRegistry::builder`].
#[derive(Debug)]
#[must_use]
pub struct RemoteRegistryBuilder {
    endpoint: Result<Endpoint, TransportError>,
    timeout: Duration,
    include_remote_local: bool,
    keep_alive_timeout: Duration,
    max_backoff: Duration,
    frame_limits: FrameLimits,
    format: Format,
}

impl RemoteRegistryBuilder {
    pub(super) fn new<E>(endpoint: E) -> Self
    where
        E: TryInto<Endpoint>,
        TransportError: From<E::Error>,
    {
        Self {
            endpoint: endpoint.try_into().map_err(TransportError::from),
            timeout: Duration::from_secs(10),
            include_remote_local: false,
            keep_alive_timeout: Duration::from_secs(45),
            max_backoff: Duration::from_secs(5),
            frame_limits: FrameLimits::default(),
            format: Format::default(),
        }
    }

    /// Sets the timeout of a call, which includes connecting and reading all pages of a long list.
    /// The default is 10 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets whether lists and watches include the Unix sockets and loopback addresses of other
    /// machines. Default: false, because calling such an endpoint from this machine would reach
    /// nothing, or another agent.
    pub fn include_remote_local(mut self, include: bool) -> Self {
        self.include_remote_local = include;
        self
    }

    /// Sets how long a watch waits for an event or a keep-alive message before it reconnects. The
    /// default is 45 s, which is three times the keep-alive interval of a
    /// [`RegistryServer`](crate::registry::RegistryServer).
    pub fn keep_alive_timeout(mut self, timeout: Duration) -> Self {
        self.keep_alive_timeout = timeout;
        self
    }

    /// Sets the longest delay before a lost watch reconnects. The default is 5 s. The first delay
    /// is 50 ms, and each further delay is twice as long as the previous one.
    pub fn max_backoff(mut self, delay: Duration) -> Self {
        self.max_backoff = delay.clamp(FIRST_BACKOFF, MAX_TIMEOUT);
        self
    }

    /// Sets the largest sizes of sent and received frames. The default is 10 MiB for both.
    pub fn frame_limits(mut self, limits: FrameLimits) -> Self {
        self.frame_limits = limits;
        self
    }

    /// Sets the format of requests. The default is JSON.
    pub fn format(mut self, format: Format) -> Self {
        self.format = format;
        self
    }

    /// Checks the settings and creates the client. The client connects on its first call.
    ///
    /// # Errors
    ///
    /// Returns [`Error::InvalidEndpoint`] if the endpoint is not valid.
    pub fn build(self) -> Result<RemoteRegistry, Error> {
        let endpoint = self.endpoint.map_err(Error::InvalidEndpoint)?;
        let client = |timeout| {
            RemoteAgent::builder(&endpoint)
                .timeout(timeout)
                .frame_limits(self.frame_limits)
                .format(self.format)
        };
        let calls = client(self.timeout).idle_timeout(KEEP_IDLE);
        // A refused watch must not keep a connection open that other clients need.
        let watches = client(self.keep_alive_timeout)
            .idle_timeout(Duration::ZERO)
            .max_connections(MAX_WATCHES);
        Ok(RemoteRegistry {
            calls: calls.build()?,
            watches: watches.build()?,
            endpoint,
            timeout: self.timeout.min(MAX_TIMEOUT),
            include_remote_local: self.include_remote_local,
            backoff: (FIRST_BACKOFF, self.max_backoff),
        })
    }
}

/// The largest number of watches of one client. Watches use separate connections, so they never use
/// up the connections of calls.
const MAX_WATCHES: usize = 1024;

/// How long an idle connection is kept open. The timeout must be shorter than the heartbeat
/// interval, because each process with a registered agent would otherwise keep a connection open
/// permanently.
const KEEP_IDLE: Duration = Duration::from_secs(10);

/// The delay before the first attempt to reconnect a watch.
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
