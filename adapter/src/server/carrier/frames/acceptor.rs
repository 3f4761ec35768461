//! Accepts connections and spawns a task for each connection.

use std::{sync::Arc, time::Duration};

use agentwire_transport::{
    Connection, Listener,
    internal::{Backoff, Chain, LogLimit},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep},
};
use tracing::Instrument;

use super::session::Session;
use crate::{connection::FramedConnection, server::carrier::ServerContext};

/// The task that accepts the connections of one listener.
pub(in crate::server::carrier) struct Acceptor {
    pub(in crate::server::carrier) listener: Listener,
    pub(in crate::server::carrier) server: ServerContext,
}

impl Acceptor {
    /// Accepts connections until the server shuts down.
    pub(in crate::server::carrier) async fn run(mut self) {
        let shutdown = self.server.shutdown.clone();
        tokio::select! {
            biased;
            () = shutdown.started() => {}
            // Cancellation loses no connection, because each accepted connection is spawned before
            // the next await point.
            () = self.accept_all() => {}
        }
    }

    async fn accept_all(&mut self) {
        let limit = self.server.config.max_connections;
        let permits = Arc::new(Semaphore::new(limit.min(Semaphore::MAX_PERMITS)));
        let mut backoff = Backoff::new(FIRST_BACKOFF, MAX_BACKOFF);
        let failures = LogLimit::new();
        loop {
            // A permit is acquired before each accept, so that connections above the limit wait in
            // the accept queue of the operating system. The semaphore is never closed.
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
                return;
            };
            match self.listener.accept().await {
                Ok(connection) => {
                    backoff.reset();
                    let session = self.session(connection, permit);
                    self.server.tasks.spawn(session);
                }
                Err(error) => {
                    if let Some(count) = failures.record(Instant::now()) {
                        let (endpoint, error) = (self.listener.endpoint(), Chain(&error));
                        tracing::warn!(%endpoint, %error, count, "accept failed; retrying");
                    }
                    sleep(backoff.next_delay()).await;
                }
            }
        }
    }

    /// Returns the future that serves a connection. The permit is released when the future ends.
    fn session(
        &self,
        connection: Connection,
        permit: OwnedSemaphorePermit,
    ) -> impl Future<Output = ()> + Send + 'static {
        let peer = connection.peer().clone();
        let endpoint = self.listener.endpoint();
        let span = tracing::debug_span!("connection", %endpoint, %peer);
        let connection =
            FramedConnection::new(connection, self.server.config.frame_limits).with_grants();
        let session = Session::new(connection, peer, &self.server);
        // The captured values must be small, because this future accounts for most of the memory of
        // an idle connection.
        let served = async move {
            session.run().await;
            drop(permit);
        };
        served.instrument(span)
    }
}

/// The first delay after a failed accept. The delays grow up to `MAX_BACKOFF`. Accepting often
/// fails repeatedly, for example when the process has no more file descriptors. Without a delay,
/// the retries would be a busy loop.
const FIRST_BACKOFF: Duration = Duration::from_millis(5);
const MAX_BACKOFF: Duration = Duration::from_secs(1);
