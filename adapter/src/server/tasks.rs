//! The tasks of a running server, and how they end.

use std::{sync::Arc, time::Duration};

use agentwire_transport::Endpoint;
use tokio_util::task::TaskTracker;

use super::{
    carrier::{Bound, ServerContext},
    config::ServerConfig,
    service::Service,
    shutdown::Shutdown,
};

/// A service on its endpoints, until it is stopped or dropped.
pub(crate) struct ServerTasks {
    /// At least one.
    endpoints: Vec<Endpoint>,
    shutdown_timeout: Duration,
    shutdown: Shutdown,
    tasks: TaskTracker,
}

impl ServerTasks {
    /// Starts to serve on all endpoints, of which there is at least one.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub(crate) fn start(
        bound: Vec<Bound>,
        service: Arc<dyn Service>,
        config: ServerConfig,
    ) -> Self {
        let endpoints = bound.iter().map(|bound| bound.endpoint().clone()).collect();
        let shutdown_timeout = config.shutdown_timeout;
        let server = ServerContext {
            service,
            config: Arc::new(config),
            shutdown: Shutdown::default(),
            tasks: TaskTracker::new(),
        };
        for bound in bound {
            bound.start(server.clone());
        }
        Self {
            endpoints,
            shutdown_timeout,
            shutdown: server.shutdown,
            tasks: server.tasks,
        }
    }

    /// Returns the endpoints, with the real port where the system chose one.
    pub(crate) fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// Takes no further requests and answers those in flight, within the shutdown timeout. Returns
    /// when no task is left.
    ///
    /// If the future is dropped, draining continues without a time limit.
    pub(crate) async fn stop(&self) {
        self.shutdown.drain();
        self.tasks.close();
        let timeout = self.shutdown_timeout;
        if tokio::time::timeout(timeout, self.tasks.wait())
            .await
            .is_err()
        {
            let endpoint = &self.endpoints[0];
            tracing::debug!(%endpoint, ?timeout, "shutdown timed out; dropping requests in flight");
            self.abort().await;
        }
    }

    /// Drops everything. Returns when no task is left.
    ///
    /// If the future is dropped, the server stops all the same.
    pub(crate) async fn abort(&self) {
        self.shutdown.abort();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Waits until the server has been stopped or aborted and no task is left.
    pub(crate) async fn stopped(&self) {
        self.tasks.wait().await;
    }
}

impl Drop for ServerTasks {
    fn drop(&mut self) {
        self.shutdown.abort();
    }
}
