//! The observer that counts events with the facade `metrics`: [`MetricsObserver`].

#[cfg(feature = "opentelemetry-metrics")]
mod meter;
mod sink;
mod table;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, RwLock},
    time::Duration,
};

use agentwire_registry::Event;
use metrics::{Counter, Gauge, Histogram, Recorder};

use self::sink::Sink;
use super::{
    ConnectionEvent, InstanceEvent, LayerEvent, Observer, Outcome, Refusal, RequestEvent, Side,
};

/// An observer that counts events with the facade [`metrics`], for Prometheus and others, or with a
/// meter of OpenTelemetry.
///
/// One observer serves any number of servers and clients. The chapter on observability of the guide
/// lists all metrics. The labels have a bounded number of values: the names of agents and tools are
/// those of servers and clients of the program, and unknown error codes count as `OTHER` once there
/// are many of them.
///
/// ```
/// use std::sync::Arc;
///
/// use agentwire::{LocalAgent, Message, agent_fn, observer::MetricsObserver};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), agentwire::Error> {
/// // Install a recorder first, for example that of metrics-exporter-prometheus.
/// let metrics = Arc::new(MetricsObserver::new());
/// let echo = agent_fn("echo", |message: Message| async move { Ok(message) });
/// let server = LocalAgent::builder(echo)
///     .observer(metrics)
///     .endpoint("memory://metrics-page")
///     .serve()
///     .await?;
/// # server.stop().await;
/// # Ok(())
/// # }
/// ```
pub struct MetricsObserver {
    sink: Sink,
    server: SideMetrics,
    client: SideMetrics,
    refusals: Family,
    queue: Histogram,
    retries: Family,
    ejections: Family,
    recoveries: Family,
    resyncs: Family,
    registrations: Gauge,
    registry_changes: Family,
    /// By layer and action.
    layers: RwLock<BTreeMap<(&'static str, &'static str), Family>>,
    memory: Gauge,
}

/// The metrics that servers and clients have in common.
struct SideMetrics {
    requests: &'static str,
    durations: &'static str,
    in_flight: Gauge,
    received: Counter,
    sent: Counter,
    connections: Gauge,
    opened: Counter,
    closed: Family,
    /// The metrics of requests, by method and name. Nested maps are looked up without an
    /// allocation.
    series: RwLock<BTreeMap<&'static str, BTreeMap<Box<str>, Series>>>,
}

/// The metrics of the requests with one method and name.
struct Series {
    ok: Counter,
    duration: Histogram,
    failed: RwLock<BTreeMap<Box<str>, Counter>>,
}

/// The counters of one metric with one label that has few values.
struct Family {
    name: &'static str,
    label: &'static str,
    counters: RwLock<BTreeMap<Box<str>, Counter>>,
}

impl MetricsObserver {
    /// Creates an observer that uses the recorder that the program has installed. Create the
    /// observer after the recorder has been installed.
    #[must_use]
    pub fn new() -> Self {
        Self::with_sink(Sink::Installed)
    }

    /// Creates an observer that uses its own recorder.
    #[must_use]
    pub fn with_recorder(recorder: Arc<dyn Recorder + Send + Sync>) -> Self {
        Self::with_sink(Sink::Own(recorder))
    }

    /// Creates an observer that records with a meter of OpenTelemetry instead of a recorder.
    ///
    /// The instruments have the names and the labels of the metrics. Gauges are instruments of the
    /// kind `UpDownCounter`. Durations are in seconds.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use agentwire::observer::MetricsObserver;
    ///
    /// // Set the meter provider first, for example one of opentelemetry_sdk.
    /// let meter = opentelemetry::global::meter("agentwire");
    /// let metrics = Arc::new(MetricsObserver::with_meter(&meter));
    /// ```
    #[cfg(feature = "opentelemetry-metrics")]
    #[cfg_attr(docsrs, doc(cfg(feature = "opentelemetry-metrics")))]
    #[must_use]
    pub fn with_meter(meter: &opentelemetry::metrics::Meter) -> Self {
        Self::with_recorder(Arc::new(meter::MeterRecorder::new(meter)))
    }

    fn with_sink(sink: Sink) -> Self {
        sink.describe();
        Self {
            server: SideMetrics::new(
                &sink,
                Side::Server,
                "agentwire_requests_total",
                "agentwire_request_duration_seconds",
                "agentwire_requests_in_flight",
            ),
            client: SideMetrics::new(
                &sink,
                Side::Client,
                "agentwire_calls_total",
                "agentwire_call_duration_seconds",
                "agentwire_calls_in_flight",
            ),
            refusals: Family::new("agentwire_refusals_total", "reason"),
            queue: sink.histogram("agentwire_call_queue_seconds", &[]),
            retries: Family::new("agentwire_call_retries_total", "agent"),
            ejections: Family::new("agentwire_instance_ejections_total", "agent"),
            recoveries: Family::new("agentwire_instance_recoveries_total", "agent"),
            resyncs: Family::new("agentwire_watch_resyncs_total", "agent"),
            registrations: sink.gauge("agentwire_registrations", &[]),
            registry_changes: Family::new("agentwire_registry_changes_total", "change"),
            layers: RwLock::default(),
            memory: sink.gauge("agentwire_memory_used_bytes", &[]),
            sink,
        }
    }

    fn side(&self, side: Side) -> &SideMetrics {
        match side {
            Side::Server => &self.server,
            Side::Client => &self.client,
        }
    }
}

impl Default for MetricsObserver {
    fn default() -> Self {
        Self::new()
    }
}

impl Observer for MetricsObserver {
    fn request_started(&self, request: &RequestEvent<'_>) {
        self.side(request.side).in_flight.increment(1.0);
    }

    fn request_ended(&self, request: &RequestEvent<'_>, outcome: Outcome<'_>, duration: Duration) {
        let side = self.side(request.side);
        side.in_flight.decrement(1.0);
        side.with_series(&self.sink, request, |series, name| {
            series.duration.record(duration.as_secs_f64());
            match outcome {
                Outcome::Ok => series.ok.increment(1),
                failed => {
                    let make = |code: &str| side.counter(&self.sink, request.method, name, code);
                    increment(&series.failed, failed.code(), make);
                }
            }
        });
    }

    fn refused(&self, refusal: &Refusal) {
        self.refusals.increment(&self.sink, refusal.reason);
    }

    fn bytes_received(&self, side: Side, bytes: u64) {
        self.side(side).received.increment(bytes);
    }

    fn bytes_sent(&self, side: Side, bytes: u64) {
        self.side(side).sent.increment(bytes);
    }

    fn connection_opened(&self, connection: &ConnectionEvent<'_>) {
        let side = self.side(connection.side);
        side.connections.increment(1.0);
        side.opened.increment(1);
    }

    fn connection_closed(&self, connection: &ConnectionEvent<'_>, reason: &'static str) {
        let side = self.side(connection.side);
        side.connections.decrement(1.0);
        let labels = [("side", connection.side.as_str())];
        side.closed.increment_with(&self.sink, reason, &labels);
    }

    fn call_queued(&self, wait: Duration) {
        self.queue.record(wait.as_secs_f64());
    }

    fn call_retried(&self, agent: &str) {
        self.retries.increment(&self.sink, agent);
    }

    fn instance_ejected(&self, instance: &InstanceEvent<'_>) {
        self.ejections.increment(&self.sink, instance.agent);
    }

    fn instance_recovered(&self, instance: &InstanceEvent<'_>) {
        self.recoveries.increment(&self.sink, instance.agent);
    }

    fn watch_resynced(&self, agent: &str) {
        self.resyncs.increment(&self.sink, agent);
    }

    fn registry_changed(&self, event: &Event) {
        self.registry_changes.increment(&self.sink, event.name());
    }

    #[allow(clippy::cast_precision_loss, reason = "there are fewer registrations")]
    fn registrations_changed(&self, change: i64) {
        self.registrations.increment(change as f64);
    }

    fn layer_acted(&self, event: &LayerEvent<'_>) {
        let key = (event.layer, event.action);
        let labels = [("layer", event.layer), ("action", event.action)];
        let count = |family: &Family| family.increment_with(&self.sink, event.name, &labels);
        {
            let layers = self
                .layers
                .read()
                .unwrap_or_else(|error| error.into_inner());
            if let Some(family) = layers.get(&key) {
                return count(family);
            }
        }
        let mut layers = self
            .layers
            .write()
            .unwrap_or_else(|error| error.into_inner());
        let new = || Family::new("agentwire_layer_actions_total", "agent");
        count(layers.entry(key).or_insert_with(new));
    }

    #[allow(
        clippy::cast_precision_loss,
        reason = "budgets are smaller than 2^53 bytes"
    )]
    fn memory_changed(&self, change: i64) {
        self.memory.increment(change as f64);
    }
}

impl SideMetrics {
    fn new(
        sink: &Sink,
        side: Side,
        requests: &'static str,
        durations: &'static str,
        in_flight: &'static str,
    ) -> Self {
        let label = [("side", side.as_str())];
        Self {
            requests,
            durations,
            in_flight: sink.gauge(in_flight, &[]),
            received: sink.counter("agentwire_received_bytes_total", &label),
            sent: sink.counter("agentwire_sent_bytes_total", &label),
            connections: sink.gauge("agentwire_connections", &label),
            opened: sink.counter("agentwire_connections_opened_total", &label),
            closed: Family::new("agentwire_connections_closed_total", "reason"),
            series: RwLock::default(),
        }
    }

    /// Calls `record` with the metrics of a request.
    fn with_series(
        &self,
        sink: &Sink,
        request: &RequestEvent<'_>,
        record: impl FnOnce(&Series, &str),
    ) {
        {
            let series = self
                .series
                .read()
                .unwrap_or_else(|error| error.into_inner());
            let known = series
                .get(request.method)
                .and_then(|names| names.get(request.name));
            if let Some(known) = known {
                return record(known, request.name);
            }
        }
        let mut series = self
            .series
            .write()
            .unwrap_or_else(|error| error.into_inner());
        let names = series.entry(request.method).or_default();
        let name = if names.len() < MAX_NAMES {
            request.name
        } else {
            "OTHER"
        };
        let series = names.entry(name.into()).or_insert_with(|| Series {
            ok: self.counter(sink, request.method, name, "OK"),
            duration: sink.histogram(
                self.durations,
                &[("agent", name), ("method", request.method)],
            ),
            failed: RwLock::default(),
        });
        record(series, name);
    }

    fn counter(&self, sink: &Sink, method: &str, name: &str, code: &str) -> Counter {
        sink.counter(
            self.requests,
            &[("agent", name), ("method", method), ("code", code)],
        )
    }
}

impl Family {
    fn new(name: &'static str, label: &'static str) -> Self {
        Self {
            name,
            label,
            counters: RwLock::default(),
        }
    }

    fn increment(&self, sink: &Sink, value: &str) {
        self.increment_with(sink, value, &[]);
    }

    fn increment_with(&self, sink: &Sink, value: &str, labels: &[(&'static str, &str)]) {
        increment(&self.counters, value, |value| {
            let mut all = labels.to_vec();
            all.push((self.label, value));
            sink.counter(self.name, &all)
        });
    }
}

/// Increments the counter for a value of a label. Beyond a number of values, new values count as
/// `OTHER`.
fn increment(
    counters: &RwLock<BTreeMap<Box<str>, Counter>>,
    value: &str,
    make: impl FnOnce(&str) -> Counter,
) {
    {
        let counters = counters.read().unwrap_or_else(|error| error.into_inner());
        if let Some(counter) = counters.get(value) {
            return counter.increment(1);
        }
    }
    let mut counters = counters.write().unwrap_or_else(|error| error.into_inner());
    let value = if counters.len() < MAX_VALUES {
        value
    } else {
        "OTHER"
    };
    let counter = counters.entry(value.into()).or_insert_with(|| make(value));
    counter.increment(1);
}

impl fmt::Debug for MetricsObserver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsObserver").finish_non_exhaustive()
    }
}

/// The maximum number of names for each method. A program has few agents.
const MAX_NAMES: usize = 1024;

/// The maximum number of values of all other labels.
const MAX_VALUES: usize = 64;
