//! One connection of HTTP/2, which many calls share.

use std::{
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use agentwire_transport::{
    Connection as ByteStream, Connector, Endpoint,
    internal::{MAX_TIMEOUT, RuntimeAffinity},
};
use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use tokio::{
    sync::OnceCell,
    time::{Instant, sleep_until},
};
use tokio_util::task::AbortOnDropHandle;

use super::failure::from_h2;
use crate::client::{
    channel::{calls::Calls, failure::Failure},
    stats::Counters,
};

/// A connection, which is opened by its first call.
pub(super) struct Connection {
    opened: OnceCell<Opened>,
    /// Whether the server has told how many calls it allows.
    is_settled: AtomicBool,
    calls: Calls,
}

struct Opened {
    sender: SendRequest<Bytes>,
    affinity: RuntimeAffinity,
    _driver: AbortOnDropHandle<()>,
}

/// The owner of connections, which gives them to calls.
pub(super) trait Owner: Send + Sync + 'static {
    /// Removes a connection if `may_remove` holds, so that no other call uses the connection.
    /// Returns whether it was removed.
    fn remove(&self, connection: &Arc<Connection>, may_remove: fn(&Connection) -> bool) -> bool;
}

/// How a connection is opened, and what happens to it afterwards.
pub(super) struct Opening<'a> {
    pub(super) connector: &'a dyn Connector,
    pub(super) counters: &'a Arc<Counters>,
    pub(super) idle_timeout: Duration,
    pub(super) owner: Weak<dyn Owner>,
}

/// The right to make a call on a connection.
pub(super) struct Slot(Arc<Connection>);

impl Connection {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            opened: OnceCell::new(),
            is_settled: AtomicBool::new(false),
            calls: Calls::new(),
        })
    }

    /// Counts a call. The caller must hold the lock of `Connections`.
    pub(super) fn slot(self: &Arc<Self>) -> Slot {
        self.calls.begin();
        Slot(Arc::clone(self))
    }

    /// Returns how many calls the server allows, if it has told.
    pub(super) fn limit(&self) -> Option<usize> {
        let opened = self
            .opened
            .get()
            .filter(|_| self.is_settled.load(Relaxed))?;
        Some(opened.sender.current_max_send_streams())
    }

    /// Returns whether another call may share this connection. `usual` is how many calls share one
    /// if the server has not told fewer.
    pub(super) fn has_room(&self, usual: usize) -> bool {
        let affinity = self.opened.get().map(|opened| opened.affinity);
        self.in_flight() < self.limit().map_or(usual, |limit| limit.min(usual))
            && affinity.is_none_or(RuntimeAffinity::includes_current)
    }

    pub(super) fn in_flight(&self) -> usize {
        self.calls.in_flight()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.opened.initialized() && self.in_flight() == 0
    }
}

impl Slot {
    pub(super) fn is_open(&self) -> bool {
        self.0.opened.initialized()
    }

    /// Opens the connection unless another call opens it.
    pub(super) async fn open(&self, opening: Opening<'_>) -> Result<(), Failure> {
        let opened = self.0.opened.get_or_try_init(|| async {
            let Opening {
                connector,
                counters,
                idle_timeout,
                owner,
            } = opening;
            let stream = connector.connect().await.map_err(Failure::Connect)?;
            let driver = Driver {
                owner,
                connection: Arc::downgrade(&self.0),
                counters: Arc::clone(counters),
                endpoint: connector.endpoint().clone(),
                idle_timeout: idle_timeout.min(MAX_TIMEOUT),
            };
            driver.start(stream).await
        });
        opened.await.map(drop)
    }

    /// Returns a handle that sends a request once the server allows another call.
    pub(super) async fn sender(&self) -> Result<SendRequest<Bytes>, Failure> {
        let Some(opened) = self.0.opened.get() else {
            return Err(Failure::not_connected());
        };
        let ready = opened.sender.clone().ready().await;
        ready.map_err(|error| from_h2(error, false))
    }

    pub(super) fn connection(&self) -> &Arc<Connection> {
        &self.0
    }

    /// Records that the server has answered, which it does after it has told its settings.
    pub(super) fn answered(&self) {
        self.0.is_settled.store(true, Relaxed);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.calls.end();
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").finish_non_exhaustive()
    }
}

/// The task that drives a connection.
struct Driver {
    owner: Weak<dyn Owner>,
    connection: Weak<Connection>,
    counters: Arc<Counters>,
    endpoint: Endpoint,
    idle_timeout: Duration,
}

impl Driver {
    async fn start(self, stream: ByteStream) -> Result<Opened, Failure> {
        let mut builder = Builder::new();
        builder
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(MAX_HEADERS);
        let (sender, connection) = builder
            .handshake(stream)
            .await
            .map_err(|error| from_h2(error, false))?;
        Ok(Opened {
            sender,
            affinity: RuntimeAffinity::current(),
            _driver: AbortOnDropHandle::new(tokio::spawn(self.run(connection))),
        })
    }

    async fn run(self, connection: h2::client::Connection<ByteStream, Bytes>) {
        let open = self.counters.opened(&self.endpoint);
        let ended = tokio::select! {
            biased;
            ended = connection => ended,
            () = self.idle() => return,
        };
        let error = ended.err();
        let cause = error.as_ref().map(tracing::field::display);
        tracing::debug!(cause, "connection lost");
        open.lost();
        self.counters.lost();
        self.retire(|_| true);
    }

    /// Waits until the connection has been idle for the idle timeout and is retired.
    async fn idle(&self) {
        let mut wake = Instant::now() + self.idle_timeout;
        loop {
            sleep_until(wake).await;
            let Some(connection) = self.connection.upgrade() else {
                return;
            };
            let idle_until = connection.calls.idle_since() + self.idle_timeout;
            drop(connection);
            let now = Instant::now();
            if idle_until <= now {
                if self.retire(|connection| connection.in_flight() == 0) {
                    return;
                }
                wake = now + self.idle_timeout;
            } else {
                wake = idle_until;
            }
        }
    }

    /// Removes the connection from its owner if `may_retire` holds.
    fn retire(&self, may_retire: fn(&Connection) -> bool) -> bool {
        match (self.owner.upgrade(), self.connection.upgrade()) {
            (Some(owner), Some(connection)) => owner.remove(&connection, may_retire),
            _ => true,
        }
    }
}

/// What the server may send of one answer that the client has not read.
const STREAM_WINDOW: u32 = 1024 * 1024;

/// What the server may send of all answers that the client has not read.
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;

const MAX_HEADERS: u32 = 16 * 1024;
