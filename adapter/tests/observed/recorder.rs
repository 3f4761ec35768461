//! A recorder of metrics that the tests can read.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use agentwire::transport::internal::Mutex;
use metrics::{
    Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder as Metrics,
    SharedString, Unit,
};

/// The values of all metrics, by name and labels: `name{label="value"}`.
#[derive(Default)]
pub(crate) struct Recorder(Mutex<BTreeMap<String, Cell>>);

#[derive(Clone)]
enum Cell {
    Counter(Arc<AtomicU64>),
    Gauge(Arc<AtomicU64>),
    Histogram(Arc<Samples>),
}

#[derive(Default)]
struct Samples(Mutex<Vec<f64>>);

impl HistogramFn for Samples {
    fn record(&self, value: f64) {
        self.0.lock().push(value);
    }
}

impl Cell {
    fn kind(&self) -> &'static str {
        match self {
            Self::Counter(_) => "counter",
            Self::Gauge(_) => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

impl Recorder {
    /// Returns the value of a counter or a gauge, or the number of samples of a histogram.
    #[track_caller]
    pub(crate) fn value(&self, name: &str) -> f64 {
        match self.find(name) {
            Some(value) => value,
            None => panic!("no {name} in {:#?}", self.0.lock().keys()),
        }
    }

    /// Returns the value of a metric, if it exists.
    pub(crate) fn find(&self, name: &str) -> Option<f64> {
        let cell = self.0.lock().get(name).cloned();
        Some(match cell? {
            Cell::Counter(count) => count.load(Relaxed) as f64,
            Cell::Gauge(bits) => f64::from_bits(bits.load(Relaxed)),
            Cell::Histogram(samples) => samples.0.lock().len() as f64,
        })
    }

    /// Returns the sum of the samples of a histogram.
    #[track_caller]
    pub(crate) fn sum(&self, name: &str) -> f64 {
        let cell = self.0.lock().get(name).cloned();
        match cell {
            Some(Cell::Histogram(samples)) => samples.0.lock().iter().sum(),
            _ => panic!("{name} is no histogram"),
        }
    }

    /// Returns the kind and the names of the labels of all metrics, by name.
    pub(crate) fn metrics(&self) -> BTreeMap<String, (&'static str, Vec<String>)> {
        let cells = self.0.lock();
        let metrics = cells.iter().map(|(series, cell)| {
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let labels = labels.split(',').filter_map(|label| label.split_once('='));
            let labels = labels.map(|(label, _)| label.to_owned()).collect();
            (name.to_owned(), (cell.kind(), labels))
        });
        metrics.collect()
    }

    fn register(&self, key: &Key, new: fn() -> Cell) -> Cell {
        let labels = key.labels();
        let labels = labels.map(|label| format!("{}={:?}", label.key(), label.value()));
        let labels = labels.collect::<Vec<_>>().join(",");
        let series = match labels.as_str() {
            "" => key.name().to_owned(),
            labels => format!("{}{{{labels}}}", key.name()),
        };
        self.0.lock().entry(series).or_insert_with(new).clone()
    }
}

impl Metrics for Recorder {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        match self.register(key, || Cell::Counter(Arc::default())) {
            Cell::Counter(count) => Counter::from_arc(count),
            _ => Counter::noop(),
        }
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        match self.register(key, || Cell::Gauge(Arc::default())) {
            Cell::Gauge(bits) => Gauge::from_arc(bits),
            _ => Gauge::noop(),
        }
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        match self.register(key, || Cell::Histogram(Arc::default())) {
            Cell::Histogram(samples) => Histogram::from_arc(samples),
            _ => Histogram::noop(),
        }
    }
}
