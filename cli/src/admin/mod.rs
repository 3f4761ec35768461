//! The administrative endpoint of the serving commands: metrics, health and a page that shows them.
//!
//! | file | what it does |
//! |---|---|
//! | `recorder` | keeps metrics, and writes them as Prometheus reads them |
//! | `activity` | remembers open connections and the last events |
//! | `server` | answers requests of HTTP |
//! | `page` | the page, its style and its script |

mod activity;
mod recorder;
mod server;
mod url;

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Instant,
};

use agentwire::{
    Value,
    auth::{Gate, Security},
    observer::{MetricsObserver, Observer},
    transport::internal::Mutex,
    value,
};
use tokio::{net::TcpListener, task::JoinHandle};

pub(crate) use self::url::{AdminUrl, parse_admin_url};
use self::{activity::Activity, recorder::Recorder};
use crate::{
    exit::{CliError, Exit},
    output,
};

/// The state that the administrative endpoint shows.
pub(crate) struct Admin {
    url: AdminUrl,
    state: Arc<State>,
}

struct State {
    recorder: Arc<Recorder>,
    activity: Arc<Activity>,
    metrics: Arc<MetricsObserver>,
    started: Instant,
    /// Whether the server accepts requests.
    is_serving: AtomicBool,
    /// Returns whether all agents are registered that should be.
    is_registered: Mutex<Option<Box<dyn Fn() -> bool + Send>>>,
    /// Who may see what is not only about health.
    gate: OnceLock<Gate>,
}

/// The running endpoint. Dropping it ends the endpoint.
pub(crate) struct RunningAdmin {
    state: Arc<State>,
    task: JoinHandle<()>,
}

impl Admin {
    pub(crate) fn new(url: AdminUrl) -> Self {
        let recorder = Arc::<Recorder>::default();
        let metrics = MetricsObserver::with_recorder(Arc::clone(&recorder) as _);
        let state = State {
            recorder,
            activity: Arc::default(),
            metrics: Arc::new(metrics),
            started: Instant::now(),
            is_serving: AtomicBool::new(false),
            is_registered: Mutex::default(),
            gate: OnceLock::new(),
        };
        Self {
            url,
            state: Arc::new(state),
        }
    }

    /// Returns the observers of the server and of its clients.
    pub(crate) fn observers(&self) -> [Arc<dyn Observer>; 2] {
        let State {
            metrics, activity, ..
        } = &*self.state;
        [Arc::clone(metrics) as _, Arc::clone(activity) as _]
    }

    /// Requires the permission `metrics` for everything but health checks.
    pub(crate) fn protect(&self, security: Security) {
        // Ignore an error: this function is called once.
        let _ = self.state.gate.set(Gate::new(security));
    }

    /// Starts the endpoint, if there is one.
    pub(crate) async fn start_if_set(
        admin: Option<Self>,
    ) -> Result<Option<RunningAdmin>, CliError> {
        match admin {
            Some(admin) => Ok(Some(admin.start().await?)),
            None => Ok(None),
        }
    }

    /// Binds the endpoint and prints its address. Until [`RunningAdmin::serving`] is called, the
    /// server is not ready.
    async fn start(self) -> Result<RunningAdmin, CliError> {
        let failed = |error| {
            CliError::from_error(Exit::Unreachable, &error)
                .context(format_args!("cannot listen on {}", self.url))
        };
        let listener = TcpListener::bind(self.url.address())
            .await
            .map_err(failed)?;
        let local = listener.local_addr().map_err(failed)?;
        if !local.ip().is_loopback() && self.state.gate.get().is_none() {
            output::warn(format_args!(
                "anyone who reaches {local} can see the peers and the load of this server"
            ));
        }
        output::announce(format_args!(
            "admin on {}",
            self.url.with_port(local.port())
        ));
        let state = Arc::clone(&self.state);
        let task = tokio::spawn(server::run(listener, self.url, Arc::clone(&self.state)));
        Ok(RunningAdmin { state, task })
    }
}

impl RunningAdmin {
    /// Records that the server accepts requests. `is_registered` returns whether all agents are
    /// registered that should be.
    pub(crate) fn serving(&self, is_registered: impl Fn() -> bool + Send + 'static) {
        *self.state.is_registered.lock() = Some(Box::new(is_registered));
        self.state.is_serving.store(true, Relaxed);
    }

    /// Records that the server is stopping.
    pub(crate) fn stopping(&self) {
        self.state.is_serving.store(false, Relaxed);
        *self.state.is_registered.lock() = None;
    }
}

impl Drop for RunningAdmin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl State {
    /// Returns whether the server should receive requests, and the result of each check.
    fn readiness(&self) -> (bool, Value) {
        let is_serving = self.is_serving.load(Relaxed);
        let is_registered = match &*self.is_registered.lock() {
            Some(check) => check(),
            None => false,
        };
        let word = |is_ok: bool, otherwise: &'static str| if is_ok { "ok" } else { otherwise };
        let checks = value!({
            "server": (word(is_serving, "starting or stopping")),
            "registry": (word(is_registered, "not registered")),
        });
        (is_serving && is_registered, checks)
    }

    fn uptime(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    fn stats(&self) -> Value {
        let (ready, checks) = self.readiness();
        value!({
            "version": (env!("CARGO_PKG_VERSION")),
            "uptime": (self.uptime()),
            "ready": ready,
            "checks": checks,
            "bounds": (recorder::bounds()),
            "metrics": (self.recorder.values()),
            "events": (self.activity.events()),
        })
    }
}
