//! The tasks of a running server.

use std::{sync::Arc, time::Duration};

use agentwire_transport::Endpoint;
use tokio_util::task::TaskTracker;

#[cfg(feature = "http")]
use super::readiness::Readiness;
use super::{
    budget::{Limits, MemoryBudget},
    carrier::{Bound, ServerContext},
    config::ServerConfig,
    outcomes::Outcomes,
    service::Service,
    shutdown::Shutdown,
};

/// The tasks that serve the endpoints of a service. Dropping `ServerTasks` aborts the tasks.
pub(crate) struct ServerTasks {
    /// The endpoints. There is at least one endpoint.
    endpoints: Vec<Endpoint>,
    shutdown_timeout: Duration,
    shutdown: Shutdown,
    #[cfg(feature = "http")]
    readiness: Arc<Readiness>,
    tasks: TaskTracker,
}

impl ServerTasks {
    /// Starts serving all endpoints. There must be at least one endpoint.
    ///
    /// # Panics
    ///
    /// Panics if called outside a tokio runtime.
    pub(crate) fn start(
        bound: Vec<Bound>,
        service: Arc<dyn Service>,
        config: ServerConfig,
    ) -> Self {
        let endpoints: Vec<_> = bound.iter().map(|bound| bound.endpoint().clone()).collect();
        let shutdown_timeout = config.shutdown_timeout;
        #[cfg(feature = "auth")]
        let security = config.security.clone();
        let server = ServerContext::new(service, config, endpoints.len());
        #[cfg(feature = "auth")]
        let changes = match &security {
            Some(security) => {
                super::gatekeeper::Changes::start(security, &server.shutdown, &server.tasks)
            }
            None => super::gatekeeper::Changes::default(),
        };
        #[cfg(feature = "tls")]
        if let Some(tls) = server.config.tls.clone() {
            #[cfg(feature = "auth")]
            let on_change = move |result: Result<(), String>| changes.certificates(result);
            #[cfg(not(feature = "auth"))]
            let on_change = |_| {};
            let watch = super::tls::watch(tls, server.shutdown.clone(), on_change);
            server.tasks.spawn(watch);
        }
        // Without TLS, no certificates change.
        #[cfg(all(feature = "auth", not(feature = "tls")))]
        drop(changes);
        for bound in bound {
            bound.start(server.clone());
        }
        Self {
            endpoints,
            shutdown_timeout,
            shutdown: server.shutdown,
            #[cfg(feature = "http")]
            readiness: server.readiness,
            tasks: server.tasks,
        }
    }

    /// Runs a future until it ends or the server begins to stop.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        let shutdown = self.shutdown.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                biased;
                () = shutdown.started() => {}
                () = future => {}
            }
        });
    }

    /// Returns the endpoints. If the operating system chose the port of an endpoint, the endpoint
    /// contains the chosen port.
    pub(crate) fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// Returns what tells load balancers whether to send calls.
    #[cfg(feature = "http")]
    pub(super) fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    /// Stops accepting requests, and answers the requests in flight within the shutdown timeout.
    /// Returns when all tasks have ended.
    ///
    /// If the future is dropped, the server continues to drain without a timeout.
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

    /// Drops all requests in flight and closes all connections. Returns when all tasks have ended.
    ///
    /// If the future is dropped, the server still stops.
    pub(crate) async fn abort(&self) {
        self.shutdown.abort();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Waits until the server has been stopped or aborted and all tasks have ended.
    pub(crate) async fn stopped(&self) {
        self.tasks.wait().await;
    }
}

impl ServerContext {
    /// Creates what the carriers of a server share, with the gatekeeper around the
    /// service.
    pub(super) fn new(
        service: Arc<dyn Service>,
        mut config: ServerConfig,
        endpoints: usize,
    ) -> Self {
        let (shutdown, tasks) = (Shutdown::default(), TaskTracker::new());
        let connections = config.max_connections.saturating_mul(endpoints);
        let limits = Limits::new(config.memory_budget, connections);
        let service = match config.outcomes {
            Some(kept) => {
                let (memory, shared) = (limits.max_request(), config.shared_outcomes.clone());
                Outcomes::keep(
                    service,
                    kept,
                    memory,
                    shared,
                    tasks.clone(),
                    shutdown.clone(),
                )
            }
            None => service,
        };
        #[cfg(feature = "auth")]
        let service = match config.security.take() {
            Some(security) => super::gatekeeper::Gatekeeper::guard(service, security),
            None => service,
        };
        let max_frame = config.frame_limits.max_receive().min(limits.max_frame());
        config.frame_limits = config.frame_limits.receive(max_frame);
        Self {
            service,
            budget: Arc::new(MemoryBudget::new(limits, config.observers.clone())),
            config: Arc::new(config),
            shutdown,
            #[cfg(feature = "http")]
            readiness: Arc::default(),
            tasks,
        }
    }
}

impl Drop for ServerTasks {
    fn drop(&mut self) {
        self.shutdown.abort();
    }
}
