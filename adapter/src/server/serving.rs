use std::{sync::Arc, time::Duration};

use agentwire_transport::{Endpoint, Listener};
use tokio_util::task::TaskTracker;

use super::{accept::Acceptor, config::Config, service::Service, stop::Stop};

/// A service at an endpoint, until it is stopped or dropped.
pub(crate) struct Serving {
    endpoint: Endpoint,
    grace: Duration,
    stop: Stop,
    /// The accepting task and one task for each connection; nothing else.
    tasks: TaskTracker,
}

impl Serving {
    /// Must be called within a runtime.
    pub(crate) fn start(listener: Listener, service: Arc<dyn Service>, config: Config) -> Self {
        let tasks = TaskTracker::new();
        let stop = Stop::default();
        let endpoint = listener.endpoint().clone();
        let grace = config.grace;
        let acceptor = Acceptor {
            listener,
            service,
            config: Arc::new(config),
            stop: stop.clone(),
            tasks: tasks.clone(),
        };
        tasks.spawn(acceptor.run());
        Self {
            endpoint,
            grace,
            stop,
            tasks,
        }
    }

    /// Where it serves: the real port if the system chose one.
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Takes nothing new and answers what is in flight, within the grace. Returns when no task is left.
    ///
    /// If the future is dropped, it goes on draining, without a limit in time.
    pub(crate) async fn stop(&self) {
        self.stop.drain();
        self.tasks.close();
        if tokio::time::timeout(self.grace, self.tasks.wait())
            .await
            .is_err()
        {
            tracing::debug!(endpoint = %self.endpoint, "grace is over; dropping what is in flight");
            self.abort().await;
        }
    }

    /// Drops everything. Returns when no task is left. If the future is dropped, it stops all the same.
    pub(crate) async fn abort(&self) {
        self.stop.abort();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.stop.abort();
    }
}
