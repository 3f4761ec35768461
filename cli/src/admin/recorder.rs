//! Keeps metrics in memory, and writes them in the text format of Prometheus.
//!
//! The crate metrics-exporter-prometheus would bring forty crates and a task that empties its
//! histograms. The few metrics of this program have fixed buckets, so that each value is an atomic
//! number and the memory is bounded.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use agentwire::{Map, Value, map, transport::internal::Mutex};
use metrics::{Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, SharedString, Unit};

/// The metrics of this process.
#[derive(Default)]
pub(crate) struct Recorder {
    families: Mutex<BTreeMap<String, Family>>,
}

/// The values of one metric, by their labels in the form `{name="value"}`.
#[derive(Default)]
struct Family {
    help: String,
    series: BTreeMap<String, Series>,
}

struct Series {
    labels: Map,
    cell: Cell,
}

#[derive(Clone)]
enum Cell {
    Counter(Arc<AtomicU64>),
    /// The bits of a floating point number.
    Gauge(Arc<AtomicU64>),
    Histogram(Arc<Buckets>),
}

/// A histogram with fixed buckets.
#[derive(Default)]
struct Buckets {
    /// The number of values in each bucket, and in the last element the number of all larger
    /// values.
    counts: [AtomicU64; BOUNDS.len() + 1],
    nanos: AtomicU64,
}

impl Recorder {
    fn cell(&self, key: &Key, new: impl FnOnce() -> Cell) -> Cell {
        let mut families = self.families.lock();
        let family = families.entry(key.name().to_owned()).or_default();
        let series = family.series.entry(label_text(key)).or_insert_with(|| {
            let labels = key.labels();
            let labels = labels.map(|label| (label.key(), Value::from(label.value())));
            Series {
                labels: labels.collect(),
                cell: new(),
            }
        });
        series.cell.clone()
    }

    fn describe(&self, name: &KeyName, help: &SharedString) {
        let mut families = self.families.lock();
        let family = families.entry(name.as_str().to_owned()).or_default();
        help.as_ref().clone_into(&mut family.help);
    }

    /// Returns all metrics in the text format of Prometheus.
    pub(crate) fn prometheus_text(&self) -> String {
        let mut text = String::new();
        for (name, family) in &*self.families.lock() {
            let Some(first) = family.series.values().next() else {
                continue;
            };
            let kind = match first.cell {
                Cell::Counter(_) => "counter",
                Cell::Gauge(_) => "gauge",
                Cell::Histogram(_) => "histogram",
            };
            // Writing to a string cannot fail.
            let _ = writeln!(text, "# HELP {name} {}\n# TYPE {name} {kind}", family.help);
            for (labels, series) in &family.series {
                let _ = match &series.cell {
                    Cell::Counter(value) => {
                        writeln!(text, "{name}{labels} {}", value.load(Relaxed))
                    }
                    Cell::Gauge(bits) => {
                        writeln!(
                            text,
                            "{name}{labels} {}",
                            f64::from_bits(bits.load(Relaxed))
                        )
                    }
                    Cell::Histogram(buckets) => write_histogram(&mut text, name, labels, buckets),
                };
            }
        }
        text
    }

    /// Returns all metrics as a list of maps.
    pub(crate) fn values(&self) -> Value {
        let mut values = Vec::new();
        for (name, family) in &*self.families.lock() {
            for series in family.series.values() {
                let mut value = map! {"name": (name.as_str()), "labels": (series.labels.clone())};
                match &series.cell {
                    Cell::Counter(count) => {
                        value.insert("value", count.load(Relaxed));
                    }
                    Cell::Gauge(bits) => {
                        value.insert("value", f64::from_bits(bits.load(Relaxed)));
                    }
                    Cell::Histogram(buckets) => {
                        let counts = buckets.counts.iter().map(|count| count.load(Relaxed));
                        value.insert("counts", counts.collect::<Value>());
                        value.insert("sum", buckets.sum());
                    }
                }
                values.push(Value::from(value));
            }
        }
        values.into_iter().collect()
    }
}

/// Returns the upper bounds of the buckets of histograms, in seconds.
pub(crate) fn bounds() -> Value {
    BOUNDS.iter().copied().collect()
}

impl metrics::Recorder for Recorder {
    fn describe_counter(&self, key: KeyName, _: Option<Unit>, help: SharedString) {
        self.describe(&key, &help);
    }

    fn describe_gauge(&self, key: KeyName, _: Option<Unit>, help: SharedString) {
        self.describe(&key, &help);
    }

    fn describe_histogram(&self, key: KeyName, _: Option<Unit>, help: SharedString) {
        self.describe(&key, &help);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        match self.cell(key, || Cell::Counter(Arc::default())) {
            Cell::Counter(value) => Counter::from_arc(value),
            _ => Counter::noop(),
        }
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        match self.cell(key, || Cell::Gauge(Arc::default())) {
            Cell::Gauge(bits) => Gauge::from_arc(bits),
            _ => Gauge::noop(),
        }
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        match self.cell(key, || Cell::Histogram(Arc::default())) {
            Cell::Histogram(buckets) => Histogram::from_arc(buckets),
            _ => Histogram::noop(),
        }
    }
}

impl HistogramFn for Buckets {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a duration in nanoseconds fits, and the cast saturates"
    )]
    fn record(&self, seconds: f64) {
        let index = BOUNDS.partition_point(|bound| *bound < seconds);
        self.counts[index].fetch_add(1, Relaxed);
        self.nanos.fetch_add((seconds * 1e9) as u64, Relaxed);
    }
}

impl Buckets {
    #[allow(
        clippy::cast_precision_loss,
        reason = "a sum of seconds needs no more digits"
    )]
    fn sum(&self) -> f64 {
        self.nanos.load(Relaxed) as f64 / 1e9
    }
}

fn write_histogram(
    text: &mut String,
    name: &str,
    labels: &str,
    buckets: &Buckets,
) -> std::fmt::Result {
    let inner = labels.strip_suffix('}').unwrap_or("{");
    let comma = if labels.is_empty() { "" } else { "," };
    let mut total = 0;
    for (index, count) in buckets.counts.iter().enumerate() {
        total += count.load(Relaxed);
        let bound = BOUNDS.get(index).map_or("+Inf".to_owned(), f64::to_string);
        writeln!(text, "{name}_bucket{inner}{comma}le=\"{bound}\"}} {total}")?;
    }
    writeln!(text, "{name}_sum{labels} {}", buckets.sum())?;
    writeln!(text, "{name}_count{labels} {total}")
}

/// Returns the labels as Prometheus writes them, or an empty text if there are none.
fn label_text(key: &Key) -> String {
    let mut text = String::new();
    for label in key.labels() {
        text.push(if text.is_empty() { '{' } else { ',' });
        text.push_str(label.key());
        text.push_str("=\"");
        for char in label.value().chars() {
            match char {
                '\\' => text.push_str("\\\\"),
                '"' => text.push_str("\\\""),
                '\n' => text.push_str("\\n"),
                char => text.push(char),
            }
        }
        text.push('"');
    }
    if !text.is_empty() {
        text.push('}');
    }
    text
}

/// The upper bounds of the buckets, in seconds.
const BOUNDS: [f64; 19] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];

#[cfg(test)]
mod tests {
    use metrics::{Label, Level, Recorder as _};

    use super::*;

    const METADATA: Metadata<'_> = Metadata::new("test", Level::INFO, None);

    #[test]
    fn the_text_has_escaped_labels_and_cumulative_buckets() {
        let recorder = Recorder::default();
        recorder.describe_counter("calls_total".into(), None, "Calls.".into());
        let label = Label::new("agent", "a\"b\\c\nd");
        let key = Key::from_parts("calls_total", vec![label]);
        recorder.register_counter(&key, &METADATA).increment(2);
        // The same key has the same counter.
        recorder.register_counter(&key, &METADATA).increment(1);
        let histogram = recorder.register_histogram(&Key::from_name("seconds"), &METADATA);
        for seconds in [0.000_05, 0.3, 100.0] {
            histogram.record(seconds);
        }
        recorder
            .register_gauge(&Key::from_name("level"), &METADATA)
            .set(2.5);
        let text = recorder.prometheus_text();
        for line in [
            "# HELP calls_total Calls.",
            "# TYPE calls_total counter",
            "calls_total{agent=\"a\\\"b\\\\c\\nd\"} 3",
            "# TYPE level gauge",
            "level 2.5",
            "# TYPE seconds histogram",
            "seconds_bucket{le=\"0.00005\"} 1",
            "seconds_bucket{le=\"0.25\"} 1",
            "seconds_bucket{le=\"0.5\"} 2",
            "seconds_bucket{le=\"60\"} 2",
            "seconds_bucket{le=\"+Inf\"} 3",
            "seconds_sum 100.30005",
            "seconds_count 3",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }
}
