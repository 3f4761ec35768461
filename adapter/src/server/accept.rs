use std::{sync::Arc, time::Duration};

use agentwire_transport::{Connection, Listener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::{config::Config, service::Service, session::Session, stop::Stop};
use crate::connection::FramedConnection;

/// Takes connections and gives each a task.
pub(super) struct Acceptor {
    pub(super) listener: Listener,
    pub(super) service: Arc<dyn Service>,
    pub(super) config: Arc<Config>,
    pub(super) stop: Stop,
    pub(super) tasks: TaskTracker,
}

/// How long to wait after a failed accept, at first and at most. Failures of accept come in rows, when
/// file descriptors run out, and trying again at once would spin.
const FIRST_BACKOFF: Duration = Duration::from_millis(5);
const LAST_BACKOFF: Duration = Duration::from_secs(1);

impl Acceptor {
    pub(super) async fn run(mut self) {
        let stop = self.stop.clone();
        tokio::select! {
            biased;
            () = stop.begun() => {}
            // Nothing is lost: a connection that was accepted has its task by the next await.
            () = self.accept_all() => {}
        }
    }

    async fn accept_all(&mut self) {
        let permits = Arc::new(Semaphore::new(
            self.config.max_connections.min(Semaphore::MAX_PERMITS),
        ));
        let mut backoff = FIRST_BACKOFF;
        loop {
            // The permit comes first, so that at the limit connections wait in the system's queue. The
            // semaphore is never closed.
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
                return;
            };
            match self.listener.accept().await {
                Ok(connection) => {
                    backoff = FIRST_BACKOFF;
                    self.tasks.spawn(self.session(connection, permit));
                }
                Err(error) => {
                    let endpoint = self.listener.endpoint();
                    tracing::warn!(%endpoint, %error, ?backoff, "cannot accept a connection; trying again");
                    tokio::time::sleep(backoff).await;
                    backoff = (backoff * 2).min(LAST_BACKOFF);
                }
            }
        }
    }

    /// The conversation on a connection, which is one of so many until it ends.
    fn session(
        &self,
        connection: Connection,
        permit: OwnedSemaphorePermit,
    ) -> impl Future<Output = ()> + Send + 'static {
        let peer = Arc::new(connection.peer().clone());
        let link = FramedConnection::new(connection, self.config.frame_limits);
        let span = tracing::debug_span!("connection", endpoint = %self.listener.endpoint(), %peer);
        let session = Session::new(
            link,
            peer,
            Arc::clone(&self.service),
            Arc::clone(&self.config),
            self.stop.watch(),
        );
        // The task of an idle connection is little more than this future: what is moved into it should be small.
        let served = async move {
            session.run().await;
            drop(permit);
        };
        served.instrument(span)
    }
}
