//! The builder of a [`RemoteRegistry`].

use std::{sync::Arc, time::Duration};

use agentwire_codec::{Format, FrameLimits};
use agentwire_transport::{Endpoint, Error as TransportError, internal::MAX_TIMEOUT};

use super::{RemoteRegistry, budget::ListLimits};
use crate::{
    Credentials, Error, RemoteAgent, RetryPolicy,
    observer::{Observer, Observers},
};

/// A builder for a [`RemoteRegistry`], returned by [`RemoteRegistry::builder`].
///
/// ```
/// use std::time::Duration;
///
/// use agentwire::registry::RemoteRegistry;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), agentwire::Error> {
/// let registry = RemoteRegistry::builder("tcp://10.0.0.1:7000")
///     .timeout(Duration::from_secs(2))
///     .build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use]
pub struct RemoteRegistryBuilder {
    endpoint: Result<Endpoint, TransportError>,
    timeout: Duration,
    retry: RetryPolicy,
    limits: ListLimits,
    include_remote_local: bool,
    keep_alive_timeout: Duration,
    max_backoff: Duration,
    frame_limits: FrameLimits,
    format: Format,
    require_tls: bool,
    #[cfg(feature = "tls")]
    tls: agentwire_transport::TlsClient,
    credentials: Option<Credentials>,
    allow_plaintext_credentials: bool,
    peer_uid: Option<u32>,
    observers: Observers,
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
            retry: RetryPolicy::new().resend(2),
            limits: ListLimits {
                max_size: MAX_LIST_SIZE,
                timeout: LIST_TIMEOUT,
            },
            include_remote_local: false,
            keep_alive_timeout: Duration::from_secs(45),
            max_backoff: Duration::from_secs(5),
            frame_limits: FrameLimits::default(),
            format: Format::default(),
            require_tls: false,
            #[cfg(feature = "tls")]
            tls: agentwire_transport::TlsClient::new(),
            credentials: None,
            allow_plaintext_credentials: false,
            peer_uid: None,
            observers: Observers::default(),
        }
    }

    /// Sets the timeout of a call. The default is 10 s. The timeout includes the time for
    /// connecting and for reading all pages of a list.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the retry policy of calls. By default, connecting is retried until the timeout, and a
    /// request is sent up to two times more. A request that must not be repeated, which is to
    /// unregister an instance without its id and owner, is never sent again. A watch reconnects
    /// under every policy.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// Sets whether lists and watches include the Unix sockets and loopback addresses of other
    /// machines. The default is `false`, because a call from this machine to such an endpoint would
    /// fail or reach a different agent.
    pub fn include_remote_local(mut self, include: bool) -> Self {
        self.include_remote_local = include;
        self
    }

    /// Sets the maximum memory of a list and of the snapshot of a watch, in bytes. The default is
    /// 64 MiB. The memory is an estimate, and is several times the size of the list as JSON.
    ///
    /// A larger list fails with
    /// [`RegistryError::AnswerTooLarge`](crate::registry::RegistryError::AnswerTooLarge), and a
    /// larger snapshot ends its watch with this error. Without the limit, a hostile registry could
    /// fill the memory of its clients.
    pub fn max_list_size(mut self, bytes: usize) -> Self {
        self.limits.max_size = bytes;
        self
    }

    /// Sets the maximum time until a list or the snapshot of a watch has arrived as a whole. The
    /// default is 60 s. A list must also arrive within the [`timeout`](Self::timeout) of a call. A
    /// watch whose snapshot is late reconnects.
    pub fn list_timeout(mut self, timeout: Duration) -> Self {
        self.limits.timeout = timeout.min(MAX_TIMEOUT);
        self
    }

    /// Sets the time after which a watch reconnects if it has received no event and no keep-alive
    /// message. The default is 45 s, which is three times the keep-alive interval of a
    /// [`RegistryServer`](crate::registry::RegistryServer).
    pub fn keep_alive_timeout(mut self, timeout: Duration) -> Self {
        self.keep_alive_timeout = timeout;
        self
    }

    /// Sets the maximum delay before a lost watch reconnects. The default is 5 s. The first delay
    /// is 50 ms, and each further delay is twice as long as the previous one.
    pub fn max_backoff(mut self, delay: Duration) -> Self {
        self.max_backoff = delay.clamp(FIRST_BACKOFF, MAX_TIMEOUT);
        self
    }

    /// Sets the maximum sizes of sent and received frames. Both default to 10 MiB.
    pub fn frame_limits(mut self, limits: FrameLimits) -> Self {
        self.frame_limits = limits;
        self
    }

    /// Sets the format of requests. The default is JSON.
    pub fn format(mut self, format: Format) -> Self {
        self.format = format;
        self
    }

    /// Sets the certificates for a `tls://` endpoint, as
    /// [`RemoteAgentBuilder::tls`](crate::RemoteAgentBuilder::tls) does.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: agentwire_transport::TlsClient) -> Self {
        self.tls = tls;
        self
    }

    /// Sets whether an endpoint without encryption is refused, as
    /// [`RemoteAgentBuilder::require_tls`](crate::RemoteAgentBuilder::require_tls) does. The
    /// default is `false`. The setting concerns the registry, and not the agents that it lists.
    pub fn require_tls(mut self, require: bool) -> Self {
        self.require_tls = require;
        self
    }

    /// Sets the credentials that are added to each request: see
    /// [`RemoteAgentBuilder::credentials`](crate::RemoteAgentBuilder::credentials).
    pub fn credentials(mut self, credentials: impl Into<Credentials>) -> Self {
        self.credentials = Some(credentials.into());
        self
    }

    /// Sets whether credentials may be sent over unencrypted connections to other machines. The
    /// default is `false`.
    pub fn allow_plaintext_credentials(mut self, allow: bool) -> Self {
        self.allow_plaintext_credentials = allow;
        self
    }

    /// Sets the user that must run the registry behind a Unix socket. By default, any user may.
    pub fn peer_uid(mut self, uid: u32) -> Self {
        self.peer_uid = Some(uid);
        self
    }

    /// Adds an observer, which learns what the client does, as
    /// [`RemoteAgentBuilder::observer`](crate::RemoteAgentBuilder::observer) does.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observers.add(observer);
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
            let mut client = RemoteAgent::builder(&endpoint)
                .timeout(timeout)
                .frame_limits(self.frame_limits)
                .format(self.format)
                .require_tls(self.require_tls)
                .allow_plaintext_credentials(self.allow_plaintext_credentials);
            if let Some(credentials) = &self.credentials {
                client = client.credentials(credentials.clone());
            }
            if let Some(observer) = self.observers.get() {
                client = client.observer(Arc::clone(observer));
            }
            if let Some(uid) = self.peer_uid {
                client = client.peer_uid(uid);
            }
            #[cfg(feature = "tls")]
            let client = client.tls(self.tls.clone());
            client
        };
        let calls = client(self.timeout)
            .retry(self.retry.clone())
            .idle_timeout(KEEP_IDLE);
        // A refused watch must not keep a connection open, because other clients may need the
        // connection.
        let watches = client(self.keep_alive_timeout)
            .idle_timeout(Duration::ZERO)
            .max_connections(MAX_WATCHES);
        Ok(RemoteRegistry {
            calls: calls.build()?,
            watches: watches.build()?,
            endpoint,
            timeout: self.timeout.min(MAX_TIMEOUT),
            retry: self.retry,
            limits: self.limits,
            include_remote_local: self.include_remote_local,
            backoff: (FIRST_BACKOFF, self.max_backoff),
        })
    }
}

const MAX_LIST_SIZE: usize = 64 * 1024 * 1024;
const LIST_TIMEOUT: Duration = Duration::from_secs(60);

/// The maximum number of watches of one client. Watches have separate connections, so that they
/// cannot use up the connections of calls.
const MAX_WATCHES: usize = 1024;

/// The idle timeout of connections. The timeout is shorter than the heartbeat interval, so that a
/// process with a registered agent does not keep a connection open permanently.
const KEEP_IDLE: Duration = Duration::from_secs(10);

/// The delay before the first attempt to reconnect.
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
