//! One connection of HTTP/2, which many calls share.

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::ready,
    time::Duration,
};

use agentwire_transport::{
    Connection as ByteStream, Connector, Endpoint,
    internal::{MAX_TIMEOUT, RuntimeAffinity},
};
use bytes::Bytes;
use h2::client::SendRequest;
use tokio::{
    sync::OnceCell,
    time::{Instant, sleep_until},
};
use tokio_util::task::AbortOnDropHandle;

use super::failure::from_h2;
use crate::client::{
    channel::{
        calls::Calls,
        failure::Failure,
        http2::{self, Turn},
        wire::{Shared, Wire},
    },
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
    shared: Arc<Shared>,
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
    /// How many calls share the connection.
    pub(super) max_calls: usize,
    pub(super) owner: Weak<dyn Owner>,
}

/// The right to make a call on a connection.
pub(super) struct Slot {
    connection: Arc<Connection>,
    /// The number of bytes that the connection had received when the call received its last ones.
    received: u64,
}

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
        Slot {
            connection: Arc::clone(self),
            received: self.received(),
        }
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

    fn received(&self) -> u64 {
        self.opened.get().map_or(0, |one| one.shared.received())
    }

    pub(super) fn is_idle(&self) -> bool {
        self.opened.initialized() && self.in_flight() == 0
    }
}

impl Slot {
    pub(super) fn is_open(&self) -> bool {
        self.connection.opened.initialized()
    }

    /// Opens the connection unless another call opens it.
    pub(super) async fn open(&self, opening: Opening<'_>) -> Result<(), Failure> {
        let opened = self.connection.opened.get_or_try_init(|| async {
            let Opening {
                connector,
                counters,
                idle_timeout,
                max_calls,
                owner,
            } = opening;
            let stream = connector.connect().await.map_err(Failure::Connect)?;
            let driver = Driver {
                owner,
                connection: Arc::downgrade(&self.connection),
                counters: Arc::clone(counters),
                endpoint: connector.endpoint().clone(),
                idle_timeout: idle_timeout.min(MAX_TIMEOUT),
            };
            driver.start(stream, max_calls).await
        });
        opened.await.map(drop)
    }

    /// Returns a handle that sends a request once the server allows another call.
    pub(super) async fn sender(&self) -> Result<SendRequest<Bytes>, Failure> {
        let Some(opened) = self.connection.opened.get() else {
            return Err(Failure::not_connected());
        };
        let ready = opened.sender.clone().ready().await;
        ready.map_err(|error| from_h2(error, false))
    }

    pub(super) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Records that bytes of the answer have arrived.
    pub(super) fn progressed(&mut self) {
        self.received = self.connection.received();
    }

    /// Returns whether nothing has arrived on the connection since the last bytes of the call.
    pub(super) fn is_silent(&self) -> bool {
        self.connection.received() == self.received
    }

    /// Records that the server has answered, which it does after it has told its settings.
    pub(super) fn answered(&self) {
        self.connection.is_settled.store(true, Relaxed);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.connection.calls.end();
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
    async fn start(self, stream: ByteStream, max_calls: usize) -> Result<Opened, Failure> {
        let opened = http2::open(stream, max_calls).await;
        let (sender, connection, shared) = opened.map_err(|error| from_h2(error, false))?;
        Ok(Opened {
            sender,
            shared,
            affinity: RuntimeAffinity::current(),
            _driver: AbortOnDropHandle::new(tokio::spawn(self.run(connection))),
        })
    }

    async fn run(self, mut connection: h2::client::Connection<Wire, Bytes>) {
        let open = self.counters.opened(&self.endpoint);
        let mut turn = Turn::default();
        let connection = poll_fn(|cx| {
            let in_flight = self.connection.upgrade().map_or(0, |one| one.in_flight());
            ready!(turn.poll(cx, in_flight));
            Pin::new(&mut connection).poll(cx)
        });
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
