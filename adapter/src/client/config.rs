//! The settings of a client, and of one call.

use std::time::Duration;

use agentwire_codec::{Format, FrameLimits};
use agentwire_transport::TcpOptions;

use super::retry_policy::RetryPolicy;

/// The settings that all channels of one client share.
#[derive(Debug, Clone)]
pub(super) struct Config {
    /// The name to call the agent by; empty for none.
    pub(super) name: String,
    pub(super) timeout: Duration,
    pub(super) connect_timeout: Duration,
    pub(super) max_connections: usize,
    pub(super) max_in_flight: usize,
    pub(super) idle_timeout: Duration,
    pub(super) retry: RetryPolicy,
    pub(super) frame_limits: FrameLimits,
    pub(super) tcp: TcpOptions,
    pub(super) format: Format,
}

impl Config {
    pub(super) fn new(name: String, connect_timeout: Duration) -> Self {
        Self {
            name,
            timeout: DEFAULT_TIMEOUT,
            connect_timeout,
            max_connections: DEFAULT_MAX_CONNECTIONS,
            max_in_flight: 1,
            idle_timeout: DEFAULT_IDLE_TIMEOUT,
            retry: RetryPolicy::default(),
            frame_limits: FrameLimits::default(),
            tcp: TcpOptions::default(),
            format: Format::default(),
        }
    }
}

/// Settings for one call, in place of its client's.
///
/// ```
/// use std::time::Duration;
///
/// use agentwire::{CallOptions, RetryPolicy};
///
/// let patient = CallOptions::new().timeout(Duration::from_secs(300)).retry(RetryPolicy::never());
/// ```
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct CallOptions {
    pub(super) timeout: Option<Duration>,
    pub(super) total_timeout: Option<Duration>,
    pub(super) retry: Option<RetryPolicy>,
}

impl CallOptions {
    /// The settings of the client.
    pub fn new() -> Self {
        Self::default()
    }

    /// How long the call may take; for a stream, from chunk to chunk. Default: the client's
    /// timeout.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// How long a whole stream may take, however fast its chunks arrive. Default: no limit.
    ///
    /// For a call with one answer this is another [`timeout`](Self::timeout); the shorter one
    /// applies.
    pub fn total_timeout(mut self, timeout: Duration) -> Self {
        self.total_timeout = Some(timeout);
        self
    }

    /// When the call is tried again. Default: the client's policy.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = Some(policy);
        self
    }
}

/// How long a call may take by default.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// How many connections a channel opens by default.
const DEFAULT_MAX_CONNECTIONS: usize = 64;

/// How long an idle connection is kept by default. Servers close idle connections after 60 s
/// (PROTOCOL 8.2), and a call should not use a connection at the moment when its server closes it.
const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(50);
