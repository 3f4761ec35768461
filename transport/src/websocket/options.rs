//! The settings of WebSocket connections.

use std::{
    fmt,
    sync::Arc,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use crate::{BoxFuture, Peer};

/// Settings of WebSocket connections.
///
/// Clones share the memory for fragmented messages.
#[derive(Debug, Clone)]
pub struct WebSocketOptions {
    pub(super) max_message: usize,
    pub(super) ping_interval: Duration,
    pub(super) pong_timeout: Duration,
    pub(super) message_timeout: Duration,
    pub(super) headers: Arc<Vec<(String, String)>>,
    pub(super) allowed_origins: Arc<Vec<String>>,
    pub(super) fragments: FragmentBudget,
    pub(super) check: Option<HandshakeCheck>,
}

impl WebSocketOptions {
    /// Returns the default settings.
    #[must_use]
    pub fn new() -> Self {
        Self {
            max_message: 10 * 1024 * 1024,
            ping_interval: Duration::from_secs(20),
            pong_timeout: Duration::from_secs(20),
            message_timeout: Duration::from_secs(60),
            headers: Arc::default(),
            allowed_origins: Arc::default(),
            fragments: FragmentBudget::new(DEFAULT_FRAGMENT_BUDGET),
            check: None,
        }
    }

    /// Sets the maximum size of a received message in bytes. The default is 10 MiB. A larger
    /// message closes the connection with the code 1009.
    #[must_use]
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }

    /// Allows web pages of an origin, such as `https://console.example`, to connect to a server.
    /// The origin `*` stands for all origins. Call this method once for each origin. By default, no
    /// page may connect, because any page that a user of the machine opens can try. Other clients
    /// name no origin.
    #[must_use]
    pub fn allowed_origin(mut self, origin: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.allowed_origins).push(origin.into());
        self
    }

    /// Sets after how much silence a ping is sent. The default is 20 seconds.
    #[must_use]
    pub fn ping_interval(mut self, interval: Duration) -> Self {
        self.ping_interval = interval;
        self
    }

    /// Sets how long a ping may stay unanswered. The connection is then closed with the code 1011.
    /// The default is 20 seconds.
    #[must_use]
    pub fn pong_timeout(mut self, timeout: Duration) -> Self {
        self.pong_timeout = timeout;
        self
    }

    /// Sets the time for a message of several fragments. The time begins again when 16 KiB for each
    /// of its seconds have arrived. The default is 60 seconds. A slower message closes the
    /// connection with the code 1008.
    #[must_use]
    pub fn message_timeout(mut self, timeout: Duration) -> Self {
        self.message_timeout = timeout;
        self
    }

    /// Sets the memory that all incomplete fragmented messages together may take, in bytes. The
    /// default is 32 MiB. A message that does not fit closes its connection with the code 1013.
    #[must_use]
    pub fn fragment_budget(mut self, bytes: usize) -> Self {
        self.fragments = FragmentBudget::new(bytes);
        self
    }

    /// Adds a header to the request with which a client opens a connection.
    ///
    /// # Panics
    ///
    /// Panics if the name or the value contains a control character.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let (name, value) = (name.into(), value.into());
        assert!(
            !name.contains(|c: char| c.is_control() || c == ':')
                && !value.contains(char::is_control),
            "a header contains no control characters"
        );
        Arc::make_mut(&mut self.headers).push((name, value));
        self
    }

    /// Sets the check of valid handshakes on the server's side. The arguments are the peer and the
    /// header `Authorization`. A failed check is the status 401, 429 or 503 of the answer.
    #[must_use]
    #[doc(hidden)]
    pub fn check_handshakes<F>(mut self, check: F) -> Self
    where
        F: Fn(Peer, Option<&str>) -> BoxFuture<'static, Result<(), u16>> + Send + Sync + 'static,
    {
        self.check = Some(HandshakeCheck(Arc::new(check)));
        self
    }
}

/// Decides whether a server accepts a handshake.
#[derive(Clone)]
pub(super) struct HandshakeCheck(Arc<Check>);

type Check = dyn Fn(Peer, Option<&str>) -> BoxFuture<'static, Result<(), u16>> + Send + Sync;

impl HandshakeCheck {
    pub(super) fn run(
        &self,
        peer: Peer,
        authorization: Option<&str>,
    ) -> BoxFuture<'static, Result<(), u16>> {
        (self.0)(peer, authorization)
    }
}

impl fmt::Debug for HandshakeCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HandshakeCheck")
    }
}

impl Default for WebSocketOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// The memory for incomplete fragmented messages of all connections that share the budget.
///
/// The length of such a message is unknown until its last fragment, so it cannot be passed on part
/// by part like an unfragmented message.
#[derive(Debug, Clone)]
pub(super) struct FragmentBudget(Arc<Budget>);

#[derive(Debug)]
struct Budget {
    total: usize,
    used: AtomicUsize,
}

impl FragmentBudget {
    fn new(total: usize) -> Self {
        Self(Arc::new(Budget {
            total,
            used: AtomicUsize::new(0),
        }))
    }

    /// Acquires memory. Returns whether there was enough.
    #[must_use]
    pub(super) fn acquire(&self, bytes: usize) -> bool {
        // Relaxed, because the counter protects no other memory.
        let used = self.0.used.fetch_add(bytes, Relaxed);
        let fits = used.saturating_add(bytes) <= self.0.total;
        if !fits {
            self.release(bytes);
        }
        fits
    }

    pub(super) fn release(&self, bytes: usize) {
        self.0.used.fetch_sub(bytes, Relaxed);
    }
}

const DEFAULT_FRAGMENT_BUDGET: usize = 32 * 1024 * 1024;
