//! The settings of a client and of one call.

use std::{sync::Arc, time::Duration};

use agentwire_codec::{Body, Format, FrameLimits, TraceContext};

use super::{
    connect::ConnectOptions,
    credentials::{Credentials, Demands},
    retry_policy::RetryPolicy,
};
use crate::{PeerKind, connection::Bodies, observer::Observers};

/// The settings that all channels of one client share.
#[derive(Debug, Clone)]
pub(super) struct Config {
    /// The name by which the agent is called, or an empty string if no name is sent.
    pub(super) name: String,
    pub(super) timeout: Duration,
    pub(super) connect_timeout: Duration,
    pub(super) max_connections: usize,
    /// How many calls share a connection, if the user has said so.
    pub(super) max_in_flight: Option<usize>,
    pub(super) idle_timeout: Duration,
    pub(super) retry: RetryPolicy,
    pub(super) frame_limits: FrameLimits,
    pub(super) connect: ConnectOptions,
    pub(super) format: Format,
    pub(super) peer: PeerKind,
    /// What is added to each request, if anything.
    pub(super) credentials: Option<Credentials>,
    pub(super) allow_plaintext_credentials: bool,
    /// The user that must run the server behind a Unix socket.
    pub(super) peer_uid: Option<u32>,
    pub(super) observers: Observers,
    pub(super) sends_trace_context: bool,
    pub(super) sends_deadlines: bool,
    /// Whether each call has an idempotency key.
    pub(super) is_idempotent: bool,
    /// Whether the bodies of answers are decoded.
    pub(super) bodies: Bodies,
}

impl Config {
    pub(super) fn new(name: String, connect_timeout: Duration) -> Self {
        Self {
            name,
            timeout: DEFAULT_TIMEOUT,
            connect_timeout,
            max_connections: DEFAULT_MAX_CONNECTIONS,
            max_in_flight: None,
            idle_timeout: DEFAULT_IDLE_TIMEOUT,
            retry: RetryPolicy::default(),
            frame_limits: FrameLimits::default(),
            connect: ConnectOptions::default(),
            format: Format::default(),
            peer: PeerKind::default(),
            credentials: None,
            allow_plaintext_credentials: false,
            peer_uid: None,
            observers: Observers::default(),
            sends_trace_context: false,
            sends_deadlines: false,
            is_idempotent: false,
            bodies: Bodies::Typed,
        }
    }

    /// Returns how many calls may share a connection of frames.
    pub(super) fn calls_per_connection(&self) -> usize {
        self.max_in_flight.unwrap_or(1)
    }

    /// Returns how many calls may share a connection of HTTP/2.
    #[cfg(any(feature = "grpc", feature = "http"))]
    pub(super) fn streams_per_connection(&self) -> usize {
        self.max_in_flight.unwrap_or(DEFAULT_STREAMS_PER_CONNECTION)
    }

    /// Returns what the client demands of each server.
    pub(super) fn demands(&self) -> Demands {
        Demands {
            encryption: self.credentials.is_some() && !self.allow_plaintext_credentials,
            peer_uid: self.peer_uid,
        }
    }

    /// Adds the current credential to a request.
    pub(super) fn put_credential(&self, body: &mut Body) {
        if let Some(credentials) = &self.credentials {
            credentials.put(body);
        }
    }
}

/// Options for one call, which override the settings of the client.
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
    pub(super) trace_context: Option<Arc<TraceContext>>,
    pub(super) idempotency_key: Option<String>,
}

impl CallOptions {
    /// Creates options that override nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the timeout of the call. The default is the timeout of the client. For a stream, the
    /// timeout applies to each chunk separately.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sets the trace context of the call. The default is the context of the request that is being
    /// processed, if there is one. The context is only sent if the client
    /// [sends trace contexts](crate::RemoteAgentBuilder::send_trace_context).
    pub fn trace_context(mut self, trace: TraceContext) -> Self {
        self.trace_context = Some(Arc::new(trace));
        self
    }

    /// Sets the idempotency key of the call, of 1 to 255 bytes. Calls with the same key must be
    /// repetitions of each other. By default, a call only has a key if the client is
    /// [idempotent](crate::RemoteAgentBuilder::idempotent).
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    /// Sets the timeout for a whole stream. By default, the total duration of a stream is not
    /// limited.
    ///
    /// For a call with a single answer, the shorter of `total_timeout` and
    /// [`timeout`](Self::timeout) applies.
    pub fn total_timeout(mut self, timeout: Duration) -> Self {
        self.total_timeout = Some(timeout);
        self
    }

    /// Sets the retry policy of the call. The default is the policy of the client.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = Some(policy);
        self
    }
}

/// The default timeout of a call.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// The default maximum number of open connections in a channel.
const DEFAULT_MAX_CONNECTIONS: usize = 64;

/// The default number of calls that share a connection of HTTP/2. Most servers allow at least 100,
/// and those of this library 64.
#[cfg(any(feature = "grpc", feature = "http"))]
const DEFAULT_STREAMS_PER_CONNECTION: usize = 64;

/// The default idle timeout. Python's servers close idle connections after 60 s (PROTOCOL 8.2). The
/// client must close a connection before the server does, so that no call uses the connection just
/// as the server closes it.
const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(50);
