use std::{sync::Arc, time::Duration};

use agentwire_transport::{Connection, Listener};
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument;

use super::{config::Config, service::Service, session::Session};
use crate::link::Link;

/// Both ways to stop a server.
#[derive(Clone)]
pub(super) struct Stop {
    /// Take nothing new, finish what is in flight.
    pub(super) drain: CancellationToken,
    /// Drop everything.
    pub(super) abort: CancellationToken,
}

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
        let Stop { drain, abort } = self.stop.clone();
        tokio::select! {
            biased;
            () = abort.cancelled() => {}
            () = drain.cancelled() => {}
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
                    let session = self.session(connection);
                    self.tasks.spawn(async move {
                        session.await;
                        drop(permit);
                    });
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

    fn session(&self, connection: Connection) -> impl Future<Output = ()> + Send + 'static {
        let peer = connection.peer().clone();
        let link = Link::new(connection, self.config.frame_limits);
        let session = Session::new(
            link,
            Arc::clone(&self.service),
            Arc::clone(&self.config),
            self.stop.drain.clone(),
        );
        let abort = self.stop.abort.clone();
        let span = tracing::debug_span!("connection", endpoint = %self.listener.endpoint(), %peer);
        let served = async move {
            tokio::select! {
                biased;
                // Dropping the session drops its handlers and closes its connection.
                () = abort.cancelled() => {}
                () = session.run() => {}
            }
        };
        served.instrument(span)
    }
}
