//! The metrics that an exporter of OpenTelemetry receives.

use std::{collections::BTreeMap, fmt::Debug, sync::Arc, time::Duration};

use agentwire::{
    AgentError, LocalAgent, Map, Message, RemoteAgent, ToolResult, agent_fn,
    layer::Timeout,
    observer::{MetricsObserver, Observer, Side},
    tool_fn,
    transport::internal::Mutex,
};
use opentelemetry::{KeyValue, metrics::MeterProvider};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    metrics::{
        SdkMeterProvider, Temporality,
        data::{AggregatedMetrics, Metric, MetricData, ResourceMetrics},
        exporter::PushMetricExporter,
    },
};

use crate::common::{memory, within};

/// The values of all series: `name{label="value"}`.
type Values = BTreeMap<String, String>;

/// An exporter that keeps what it received last.
#[derive(Clone, Default)]
struct Exported(Arc<Mutex<Values>>);

impl PushMetricExporter for Exported {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let scopes = metrics.scope_metrics();
        let all = scopes.flat_map(|scope| scope.metrics());
        *self.0.lock() = all.flat_map(series).collect();
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

fn series(metric: &Metric) -> Values {
    let mut values = Values::new();
    let mut add = |attributes: Vec<&KeyValue>, value: String| {
        let mut labels: Vec<_> = attributes
            .into_iter()
            .map(|one| format!("{}={:?}", one.key, one.value.as_str()))
            .collect();
        labels.sort();
        let series = format!("{}{{{}}}", metric.name(), labels.join(","));
        values.insert(series, format!("{value} {}", metric.unit()));
    };
    match metric.data() {
        AggregatedMetrics::U64(MetricData::Sum(sum)) if sum.is_monotonic() => {
            for point in sum.data_points() {
                add(
                    point.attributes().collect(),
                    format!("{} up", point.value()),
                );
            }
        }
        AggregatedMetrics::I64(MetricData::Sum(sum)) if !sum.is_monotonic() => {
            for point in sum.data_points() {
                add(
                    point.attributes().collect(),
                    format!("{} now", point.value()),
                );
            }
        }
        AggregatedMetrics::F64(MetricData::Histogram(histogram)) => {
            for point in histogram.data_points() {
                let shortest = point.bounds().next();
                let value = format!("{} of {shortest:?}", point.count());
                add(point.attributes().collect(), value);
            }
        }
        other => unexpected(other),
    }
    values
}

fn unexpected(data: &impl Debug) {
    panic!("{data:?}");
}

#[tokio::test(start_paused = true)]
async fn a_meter_has_the_names_labels_and_values_of_the_guide() {
    let exported = Exported::default();
    let provider = SdkMeterProvider::builder()
        .with_periodic_exporter(exported.clone())
        .build();
    let values = || {
        provider.force_flush().unwrap();
        exported.0.lock().clone()
    };
    let observer = Arc::new(MetricsObserver::with_meter(&provider.meter("agentwire")));
    let agent = agent_fn("work", |message: Message| async move {
        match message.text() {
            Some("hang") => std::future::pending().await,
            Some(code) => Err(AgentError::with_code(code, "no")),
            None => Ok(message),
        }
    });
    let tool = tool_fn("now", |_: Map| async { Ok(ToolResult::success(1)) });
    let server = LocalAgent::builder(agent)
        .tool(tool)
        .layer(Timeout::new().total(Duration::from_millis(1)))
        .observer(observer.clone())
        .endpoint(memory("meter"))
        .serve()
        .await
        .unwrap();
    let remote = RemoteAgent::builder(server.endpoint())
        .name("work")
        .observer(observer.clone())
        .build()
        .unwrap();
    for content in [1, 2] {
        remote.process(Message::user(content)).await.unwrap();
    }
    remote.process(Message::user("NO")).await.unwrap_err();
    within(remote.process(Message::user("hang")))
        .await
        .unwrap_err();
    remote.execute("now", Map::new()).await.unwrap();
    observer.bytes_sent(Side::Client, 1);
    let found = values();
    let has = |series: &str, value: &str| {
        assert_eq!(
            found.get(series).map(String::as_str),
            Some(value),
            "{series} in {found:#?}"
        );
    };
    for side in ["agentwire_requests_total", "agentwire_calls_total"] {
        for (code, count) in [("OK", 2), ("NO", 1), ("AGENT_TIMEOUT", 1)] {
            let series = format!(r#"{side}{{agent="work",code="{code}",method="process"}}"#);
            has(&series, &format!("{count} up "));
        }
    }
    has(
        r#"agentwire_requests_total{agent="now",code="OK",method="execute"}"#,
        "1 up ",
    );
    for (series, value) in [
        (
            r#"agentwire_request_duration_seconds{agent="work",method="process"}"#,
            "4 of Some(5e-5) s",
        ),
        (
            r#"agentwire_call_duration_seconds{agent="work",method="process"}"#,
            "4 of Some(5e-5) s",
        ),
        ("agentwire_requests_in_flight{}", "0 now "),
        ("agentwire_calls_in_flight{}", "0 now "),
        (r#"agentwire_connections{side="server"}"#, "1 now "),
        (r#"agentwire_connections{side="client"}"#, "1 now "),
        (
            r#"agentwire_layer_actions_total{action="timed_out",agent="work",layer="timeout"}"#,
            "1 up ",
        ),
    ] {
        has(series, value);
    }
    let sent = found.iter().filter(|(name, _)| name.contains("sent_bytes"));
    assert!(
        sent.clone().all(|(_, value)| value.ends_with(" up By")),
        "{found:#?}"
    );
    assert_eq!(sent.count(), 2, "{found:#?}");

    // The gauges of two observers add up.
    let other = MetricsObserver::with_meter(&provider.meter("agentwire"));
    for bytes in [5000, -4700] {
        observer.memory_changed(bytes);
        other.memory_changed(bytes);
    }
    let memory = values().remove("agentwire_memory_used_bytes{}");
    assert_eq!(memory.as_deref(), Some("600 now By"));
    within(server.stop()).await;
}
