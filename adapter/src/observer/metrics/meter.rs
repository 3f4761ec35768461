//! A recorder that records with a meter of OpenTelemetry: [`MeterRecorder`].

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
};

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use opentelemetry::{
    KeyValue,
    metrics::{self as otel, Meter, UpDownCounter},
};

use super::table::{Kind, METRICS};

/// A recorder of the metrics of the [table](METRICS), and of no others.
pub(super) struct MeterRecorder {
    instruments: BTreeMap<&'static str, Instrument>,
}

enum Instrument {
    Counter(otel::Counter<u64>),
    Gauge(UpDownCounter<i64>),
    Histogram(otel::Histogram<f64>),
}

/// An instrument with the values of its labels.
struct Series<I> {
    instrument: I,
    attributes: Vec<KeyValue>,
}

/// A gauge with the values of its labels. OpenTelemetry adds up the gauges of all observers.
struct GaugeSeries {
    series: Series<UpDownCounter<i64>>,
    /// What has been added so far. Relaxed, because it orders no other memory.
    value: AtomicI64,
}

impl MeterRecorder {
    pub(super) fn new(meter: &Meter) -> Self {
        let instruments = METRICS.into_iter().map(|(name, kind, unit, text)| {
            // Without a unit, a number of things keeps its name in Prometheus.
            let unit = match unit {
                Unit::Seconds => "s",
                Unit::Bytes => "By",
                _ => "",
            };
            let instrument = match kind {
                Kind::Counter => {
                    let counter = meter.u64_counter(name).with_unit(unit);
                    Instrument::Counter(counter.with_description(text).build())
                }
                Kind::Gauge => {
                    let gauge = meter.i64_up_down_counter(name).with_unit(unit);
                    Instrument::Gauge(gauge.with_description(text).build())
                }
                Kind::Histogram => {
                    let histogram = meter.f64_histogram(name).with_unit(unit);
                    let histogram = histogram.with_boundaries(BOUNDARIES.to_vec());
                    Instrument::Histogram(histogram.with_description(text).build())
                }
            };
            (name, instrument)
        });
        Self {
            instruments: instruments.collect(),
        }
    }
}

impl Recorder for MeterRecorder {
    // The instruments have their descriptions.
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        match self.instruments.get(key.name()) {
            Some(Instrument::Counter(counter)) => {
                Counter::from_arc(Arc::new(Series::new(counter, key)))
            }
            _ => Counter::noop(),
        }
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        match self.instruments.get(key.name()) {
            Some(Instrument::Gauge(gauge)) => Gauge::from_arc(Arc::new(GaugeSeries {
                series: Series::new(gauge, key),
                value: AtomicI64::new(0),
            })),
            _ => Gauge::noop(),
        }
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        match self.instruments.get(key.name()) {
            Some(Instrument::Histogram(histogram)) => {
                Histogram::from_arc(Arc::new(Series::new(histogram, key)))
            }
            _ => Histogram::noop(),
        }
    }
}

impl<I: Clone> Series<I> {
    fn new(instrument: &I, key: &Key) -> Self {
        let labels = key.labels();
        let attributes = labels.map(|label| {
            let (name, value) = label.clone().into_parts();
            KeyValue::new(name.into_owned(), value.into_owned())
        });
        Self {
            instrument: instrument.clone(),
            attributes: attributes.collect(),
        }
    }
}

impl CounterFn for Series<otel::Counter<u64>> {
    fn increment(&self, value: u64) {
        self.instrument.add(value, &self.attributes);
    }

    // The observer only increments its counters.
    fn absolute(&self, _: u64) {}
}

impl HistogramFn for Series<otel::Histogram<f64>> {
    fn record(&self, value: f64) {
        self.instrument.record(value, &self.attributes);
    }
}

impl GaugeSeries {
    fn add(&self, change: i64) {
        let Series {
            instrument,
            attributes,
        } = &self.series;
        instrument.add(change, attributes);
    }
}

impl GaugeFn for GaugeSeries {
    fn increment(&self, value: f64) {
        let change = whole(value);
        self.value.fetch_add(change, Relaxed);
        self.add(change);
    }

    fn decrement(&self, value: f64) {
        self.increment(-value);
    }

    fn set(&self, value: f64) {
        let value = whole(value);
        self.add(value - self.value.swap(value, Relaxed));
    }
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "all gauges are numbers of things or bytes"
)]
fn whole(value: f64) -> i64 {
    value as i64
}

/// The upper bounds of the buckets of histograms, in seconds. The defaults of OpenTelemetry are for
/// milliseconds.
const BOUNDARIES: [f64; 19] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];
