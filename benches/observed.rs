//! Measures what it costs to be seen, in one run: metrics, traces and layers that let requests pass.
//!
//! ```sh
//! cargo bench -p agentwire-benches --features observed --bench observed
//! ```
//!
//! The first part measures calls to a server over a Unix socket: one at a time, and 64 at a time on
//! one connection. The second part measures one layer around an agent, without a server. All cases
//! of a part take turns, so that a busy machine affects them alike. Arguments select cases:
//!
//! ```sh
//! cargo bench -p agentwire-benches --features observed --bench observed -- metrics Retry
//! ```

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a program that prints its results"
)]

use std::{
    hint::black_box,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use agentwire::{
    Agent, LocalAgent, Message, RemoteAgent, RequestContext, SharedAgent, agent_fn,
    auth::{AuditEvent, NotRecorded},
    layer::{
        Audit, Cache, CircuitBreaker, ConcurrencyLimit, Fallback, Hedge, Layer, Metrics, RateLimit,
        Retry, Timeout, Trace, Validate,
    },
    map,
    observer::MetricsObserver,
};
use futures_util::{FutureExt, future::join_all};
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use opentelemetry::{metrics::MeterProvider, trace::TracerProvider};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    metrics::{SdkMeterProvider, Temporality, data::ResourceMetrics, exporter::PushMetricExporter},
    trace::{Sampler, SdkTracerProvider, SpanData, SpanExporter},
};
use tokio::runtime::{Builder, Runtime};
use tracing::Dispatch;
use tracing_subscriber::layer::SubscriberExt;

fn main() {
    // One thread, to measure work rather than wake-ups.
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    calls(&runtime);
    println!();
    layers(&runtime);
}

/// A server and the times of its calls.
struct Case {
    name: &'static str,
    _server: LocalAgent,
    client: RemoteAgent,
    /// Exports this part of the traces.
    provider: Option<SdkTracerProvider>,
    _meters: Option<SdkMeterProvider>,
    /// Nanoseconds for each call: one at a time, and 64 at a time.
    lone: Vec<f64>,
    shared: Vec<f64>,
}

/// What differs from a server and a client with default settings.
#[derive(Default)]
struct Setup {
    server_metrics: bool,
    client_metrics: bool,
    /// Metrics of the server with a meter of OpenTelemetry.
    meter: bool,
    traces: Option<f64>,
    layer: Option<Box<dyn FnOnce(SharedAgent) -> SharedAgent>>,
}

fn calls(runtime: &Runtime) {
    let directory = tempfile::tempdir().expect("a directory");
    let metrics = |server_metrics, client_metrics| Setup {
        server_metrics,
        client_metrics,
        ..Setup::default()
    };
    let traces = |ratio| Setup {
        traces: Some(ratio),
        ..Setup::default()
    };
    fn layer(layer: impl Layer) -> Setup {
        Setup {
            layer: Some(Box::new(|agent| SharedAgent::new(agent.layer(layer)))),
            ..Setup::default()
        }
    }
    let setups = [
        ("nothing", Setup::default()),
        ("nothing, again", Setup::default()),
        ("metrics of the server", metrics(true, false)),
        ("metrics of the client", metrics(false, true)),
        ("metrics of both", metrics(true, true)),
        (
            "meter of the server",
            Setup {
                meter: true,
                ..Setup::default()
            },
        ),
        ("traces, 1 %", traces(0.01)),
        ("traces, 100 %", traces(1.0)),
        ("layer Timeout", layer(Timeout::new())),
        ("layer ConcurrencyLimit", layer(ConcurrencyLimit::new(256))),
        ("layer RateLimit", layer(unlimited())),
        ("layer Retry", layer(Retry::new())),
        ("layer CircuitBreaker", layer(CircuitBreaker::new())),
        ("layer Fallback", layer(Fallback::to(echo()))),
        ("layer Hedge", layer(Hedge::new(|_| false))),
        (
            "layer Cache, not cached",
            layer(Cache::new().only_if(|_| false)),
        ),
        ("layer Validate", layer(schema())),
        ("layer Trace", layer(Trace::new())),
        ("layer Metrics", layer(Metrics::new(observer()))),
        ("layer Audit", layer(Audit::new(Discard))),
    ];
    let mut cases = Vec::new();
    for (name, setup) in setups {
        if !cases.is_empty() && !is_selected(name) {
            continue;
        }
        let path = directory.path().join(format!("{}.sock", cases.len()));
        cases.push(Case::start(runtime, name, &path, setup));
    }
    for round in 0..ROUNDS {
        for case in &mut cases {
            let (lone, shared) = case.round(runtime);
            // The first round warms up.
            if round > 0 {
                case.lone.push(lone);
                case.shared.push(shared);
            }
        }
    }
    println!("calls over a Unix socket, medians of {} rounds", ROUNDS - 1);
    println!("{:26} {:>23} {:>23}", "", "lone call", "1 x 64, each call");
    let Some(first) = cases.first() else { return };
    for case in &cases {
        let (lone, shared) = (median(&case.lone), median(&case.shared));
        let more_lone = median_difference(&case.lone, &first.lone);
        let more_shared = median_difference(&case.shared, &first.shared);
        println!(
            "{:26} {lone:8.0} ns {more_lone:+8.0} ns {shared:8.0} ns {more_shared:+8.0} ns",
            case.name,
        );
    }
}

/// Returns whether the arguments select a case. Without arguments, all cases are selected.
fn is_selected(name: &str) -> bool {
    // Cargo adds an option of its own.
    let mut parts = std::env::args().skip(1).filter(|part| part != "--bench");
    let first = parts.next();
    first.is_none_or(|first| name.contains(&first) || parts.any(|part| name.contains(&part)))
}

impl Case {
    fn start(runtime: &Runtime, name: &'static str, path: &Path, setup: Setup) -> Self {
        let agent = match setup.layer {
            Some(layer) => layer(SharedAgent::new(echo())),
            None => SharedAgent::new(echo()),
        };
        let mut server = LocalAgent::builder(agent).endpoint(format!("unix://{}", path.display()));
        if setup.server_metrics {
            server = server.observer(observer());
        }
        let meters = setup.meter.then(|| {
            let meters = SdkMeterProvider::builder();
            meters.with_periodic_exporter(Discard).build()
        });
        if let Some(meters) = &meters {
            let metrics = MetricsObserver::with_meter(&meters.meter("bench"));
            server = server.observer(Arc::new(metrics));
        }
        let server = runtime.block_on(server.serve()).expect("a free path");
        let mut client = RemoteAgent::builder(server.endpoint())
            .name("echo")
            .max_connections(1)
            .max_in_flight_per_connection(64)
            .send_trace_context(setup.traces.is_some());
        if setup.client_metrics {
            client = client.observer(observer());
        }
        let provider = setup.traces.map(|ratio| {
            let sampler = Sampler::TraceIdRatioBased(ratio);
            SdkTracerProvider::builder()
                .with_batch_exporter(Discard)
                .with_sampler(Sampler::ParentBased(Box::new(sampler)))
                .build()
        });
        Self {
            name,
            client: client.build().expect("valid settings"),
            _server: server,
            provider,
            _meters: meters,
            lone: Vec::new(),
            shared: Vec::new(),
        }
    }

    /// Makes calls one after the other, and then 64 at a time. Returns the nanoseconds for each
    /// call.
    fn round(&self, runtime: &Runtime) -> (f64, f64) {
        let work = || {
            runtime.block_on(async {
                let start = Instant::now();
                for _ in 0..CALLS {
                    self.call().await;
                }
                let lone = start.elapsed();
                let start = Instant::now();
                let callers = (0..64).map(|_| async {
                    for _ in 0..CALLS / 64 {
                        self.call().await;
                    }
                });
                join_all(callers).await;
                let shared = start.elapsed();
                let each = |time: Duration, calls| time.as_nanos() as f64 / f64::from(calls);
                (each(lone, CALLS), each(shared, CALLS / 64 * 64))
            })
        };
        // The subscriber lives for the round only, because any living subscriber makes the events
        // of all others slower.
        match &self.provider {
            Some(provider) => {
                let layer = tracing_opentelemetry::layer()
                    .with_tracer(provider.tracer("bench"))
                    .with_location(false)
                    .with_threads(false)
                    .with_tracked_inactivity(false);
                let spans = tracing_subscriber::filter::filter_fn(|metadata| {
                    metadata.is_span() && matches!(metadata.name(), "request" | "call")
                });
                let layer = tracing_subscriber::Layer::with_filter(layer, spans);
                let subscriber = Dispatch::new(tracing_subscriber::registry().with(layer));
                tracing::dispatcher::with_default(&subscriber, work)
            }
            None => work(),
        }
    }

    async fn call(&self) {
        let message = Message::user("What is the weather in San Francisco?");
        black_box(self.client.process(message).await.expect("an answer"));
    }
}

/// Calls an agent behind one layer, without a server.
fn layers(runtime: &Runtime) {
    let _entered = runtime.enter();
    let mut cases: Vec<(&str, Box<dyn Direct>, Vec<f64>)> = Vec::new();
    let mut add = |name, agent: Box<dyn Direct>| cases.push((name, agent, Vec::new()));
    add("no layer", Box::new(echo()));
    add("no layer, again", Box::new(echo()));
    add("Timeout", Box::new(echo().layer(Timeout::new())));
    let limit = ConcurrencyLimit::new(8);
    add("ConcurrencyLimit", Box::new(echo().layer(limit)));
    add("RateLimit", Box::new(echo().layer(unlimited())));
    add("Retry", Box::new(echo().layer(Retry::new())));
    let breaker = CircuitBreaker::new();
    add("CircuitBreaker", Box::new(echo().layer(breaker)));
    add("Fallback", Box::new(echo().layer(Fallback::to(echo()))));
    let hedge = Hedge::new(|_| false);
    add("Hedge, not idempotent", Box::new(echo().layer(hedge)));
    let hedge = Hedge::new(|_| true);
    add("Hedge", Box::new(echo().layer(hedge)));
    let cache = Cache::new().only_if(|_| false);
    add("Cache, not cached", Box::new(echo().layer(cache)));
    add("Cache, hit", Box::new(echo().layer(Cache::new())));
    add(
        "Validate, no schema",
        Box::new(echo().layer(Validate::new())),
    );
    add("Validate, a schema", Box::new(echo().layer(schema())));
    add("Trace, no subscriber", Box::new(echo().layer(Trace::new())));
    let metrics = Metrics::new(observer());
    add("Metrics, with metrics", Box::new(echo().layer(metrics)));
    add(
        "Audit, sink discards",
        Box::new(echo().layer(Audit::new(Discard))),
    );
    cases.retain(|(name, ..)| *name == "no layer" || is_selected(name));
    for round in 0..ROUNDS {
        for (_, agent, times) in &mut cases {
            let time = agent.round();
            if round > 0 {
                times.push(time);
            }
        }
    }
    println!(
        "an agent behind one layer, medians of {} rounds",
        ROUNDS - 1
    );
    let Some((_, _, first)) = cases.first() else {
        return;
    };
    for (name, _, times) in &cases {
        let (time, more) = (median(times), median_difference(times, first));
        println!("{name:26} {time:8.1} ns {more:+8.1} ns");
    }
}

/// An agent that is called directly.
trait Direct {
    /// Calls the agent many times, and returns the nanoseconds for each call.
    fn round(&self) -> f64;
}

impl<A: Agent> Direct for A {
    fn round(&self) -> f64 {
        let context = RequestContext::new();
        let mut message = Message::user("What is the weather in San Francisco?");
        let start = Instant::now();
        for _ in 0..DIRECT_CALLS {
            let answer = self.process(message, context.clone()).now_or_never();
            message = black_box(answer.expect("at once").expect("the echo"));
        }
        start.elapsed().as_nanos() as f64 / f64::from(DIRECT_CALLS)
    }
}

fn echo() -> impl Agent {
    agent_fn("echo", |message: Message| async move { Ok(message) })
}

/// A rate that is never exceeded.
fn unlimited() -> RateLimit {
    RateLimit::new(u32::MAX, Duration::from_millis(1))
}

/// A schema that the messages of this program match.
fn schema() -> Validate {
    let schema = map! {"type": "string"};
    Validate::new()
        .message("echo", schema)
        .expect("a valid schema")
}

fn observer() -> Arc<MetricsObserver> {
    Arc::new(MetricsObserver::with_recorder(Arc::new(Count)))
}

/// A recorder whose counters and gauges are atomic numbers, as those of most exporters.
struct Count;

/// A histogram with a sum only, because the buckets of exporters differ.
#[derive(Default)]
struct Sum(AtomicU64);

impl metrics::HistogramFn for Sum {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a duration in nanoseconds fits"
    )]
    fn record(&self, seconds: f64) {
        self.0.fetch_add((seconds * 1e9) as u64, Relaxed);
    }
}

impl Recorder for Count {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(Arc::new(AtomicU64::new(0)))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(Arc::new(AtomicU64::new(0)))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(Arc::new(Sum::default()))
    }
}

/// Exporters of spans and of metrics, and a sink of events, that discard everything.
#[derive(Debug)]
struct Discard;

impl SpanExporter for Discard {
    async fn export(&self, spans: Vec<SpanData>) -> OTelSdkResult {
        black_box(spans);
        Ok(())
    }
}

impl PushMetricExporter for Discard {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        black_box(metrics);
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        Temporality::Cumulative
    }
}

impl agentwire::auth::Audit for Discard {
    async fn record(&self, event: AuditEvent) -> Result<(), NotRecorded> {
        black_box(event);
        Ok(())
    }
}

fn median(times: &[f64]) -> f64 {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Returns the median of the differences within each round, because a machine may be slower in some
/// rounds than in others.
fn median_difference(times: &[f64], first: &[f64]) -> f64 {
    let differences: Vec<_> = times.iter().zip(first).map(|(a, b)| a - b).collect();
    median(&differences)
}

const ROUNDS: usize = 41;
const CALLS: u32 = 2048;
const DIRECT_CALLS: u32 = 100_000;
