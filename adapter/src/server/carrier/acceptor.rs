//! Accepts connections and spawns a task for each connection.

use std::{sync::Arc, time::Duration};

use agentwire_transport::{
    Connection, Endpoint, Listener,
    internal::{Backoff, Chain, LogEdge, LogLimit},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep, timeout},
};
use tracing::Instrument;

use super::{
    Serve, ServerContext,
    slot::{Eviction, Slot, Slots},
};
use crate::{
    observer::{ConnectionGuard, Refusal},
    server::{ConnectionId, PeerKey},
};

/// The task that accepts the connections of one endpoint.
pub(super) struct Acceptor<S> {
    pub(super) listener: Listener,
    /// The endpoint for logs. Its scheme may be that of a carrier above the listener.
    pub(super) endpoint: Endpoint,
    pub(super) carrier: S,
    pub(super) server: ServerContext,
}

impl<S: Serve> Acceptor<S> {
    /// Accepts connections until the server shuts down.
    pub(super) async fn run(mut self) {
        let shutdown = self.server.shutdown.clone();
        tokio::select! {
            biased;
            () = shutdown.started() => {}
            // Cancellation loses no connection below the limit, because such a connection is
            // spawned before the next await point. At the limit, it drops one connection that has
            // no session.
            () = self.accept_all() => {}
        }
    }

    async fn accept_all(&mut self) {
        let limit = self.server.config.max_connections;
        let permits = Arc::new(Semaphore::new(limit.min(Semaphore::MAX_PERMITS)));
        let mut backoff = Backoff::new(FIRST_BACKOFF, MAX_BACKOFF);
        let (failures, refusals) = (LogLimit::new(), LogLimit::new());
        let at_limit = LogEdge::new();
        let mut slots = Slots::new();
        loop {
            match self.listener.accept().await {
                Ok(connection) => {
                    backoff.reset();
                    if permits.available_permits() > limit / 8 && at_limit.end() {
                        let endpoint = &self.endpoint;
                        tracing::info!(%endpoint, limit, "below the limit of connections again");
                    }
                    let peer = PeerKey::of(connection.peer());
                    let share = self.server.config.connection_share(&peer);
                    let is_over_share = share < limit && slots.has_share(&peer, share);
                    if is_over_share && slots.evict_one(Some(&peer)).is_none() {
                        self.refuse(&connection, share, &refusals);
                        continue;
                    }
                    let permit = match Arc::clone(&permits).try_acquire_owned() {
                        Ok(permit) => permit,
                        Err(_) => {
                            if at_limit.begin(Instant::now()) {
                                let endpoint = &self.endpoint;
                                tracing::warn!(
                                    %endpoint, limit,
                                    "limit of connections reached; closing idle connections for new ones"
                                );
                            }
                            wait_for_permit(&permits, &slots).await
                        }
                    };
                    let id = ConnectionId::next();
                    let observed = ConnectionGuard::accepted(
                        &self.server.config.observers,
                        id.number(),
                        &self.endpoint,
                        connection.peer(),
                    );
                    let session = self.session(connection, permit, slots.add(peer, id, observed));
                    self.server.tasks.spawn(session);
                }
                Err(error) => {
                    if let Some(count) = failures.record(Instant::now()) {
                        let (endpoint, error) = (&self.endpoint, Chain(&error));
                        tracing::warn!(%endpoint, %error, count, "accept failed; retrying");
                    }
                    sleep(backoff.next_delay()).await;
                }
            }
        }
    }

    /// Records that a connection over the share of its peer is closed.
    fn refuse(&self, connection: &Connection, share: usize, refusals: &LogLimit) {
        let observers = &self.server.config.observers;
        observers.report(|observer| observer.refused(&Refusal::new("connections")));
        if let Some(count) = refusals.record(Instant::now()) {
            let (endpoint, peer) = (&self.endpoint, connection.peer());
            tracing::warn!(
                %endpoint, %peer, share, count,
                "connection closed: the peer has its share of connections, all with work"
            );
        }
    }

    /// Returns the future that serves a connection. The permit is released when the future ends.
    fn session(
        &self,
        connection: Connection,
        permit: OwnedSemaphorePermit,
        slot: Arc<Slot>,
    ) -> impl Future<Output = ()> + Send + 'static {
        let peer = connection.peer().clone();
        let endpoint = &self.endpoint;
        let span = tracing::debug_span!("connection", %endpoint, %peer);
        let served = self.carrier.serve(connection, slot, permit, &self.server);
        served.instrument(span)
    }
}

/// Waits for a free connection, and asks one quiet session to close its connection in the meantime.
/// If all sessions have work, further connections wait in the accept queue of the operating system.
async fn wait_for_permit(permits: &Arc<Semaphore>, slots: &Slots) -> OwnedSemaphorePermit {
    let mut eviction: Option<Eviction> = None;
    loop {
        // One newcomer costs one connection: no further session is asked unless the last one has
        // declined.
        if eviction.as_ref().is_none_or(Eviction::is_declined) {
            eviction = slots.evict_one(None);
        }
        let permit = Arc::clone(permits).acquire_owned();
        // The semaphore is never closed.
        if let Ok(Ok(permit)) = timeout(EVICTION_INTERVAL, permit).await {
            return permit;
        }
    }
}

/// The first delay after a failed accept. The delays grow up to `MAX_BACKOFF`. Accepting often
/// fails repeatedly, for example when the process has no more file descriptors. Without a delay,
/// the retries would be a busy loop.
const FIRST_BACKOFF: Duration = Duration::from_millis(5);
/// The interval at which the acceptor looks for a connection to evict while none can be evicted.
const EVICTION_INTERVAL: Duration = Duration::from_millis(20);
const MAX_BACKOFF: Duration = Duration::from_secs(1);
