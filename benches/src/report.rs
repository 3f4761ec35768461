use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::{Failure, load::Tally};

/// What a client process says that it has measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) seconds: f64,
    /// Calls that have ended well.
    pub(crate) calls: u64,
    /// Their answers: one each, or the chunks of streams.
    pub(crate) answers: u64,
    pub(crate) cpu_seconds: f64,
    /// In all of the process, if its allocator counts.
    #[serde(default)]
    pub(crate) allocations: Option<u64>,
    /// Callers that have ended early, with an error, and one of these errors.
    pub(crate) failed: u64,
    pub(crate) failure: Option<String>,
    /// Calls of the caller with the fewest, and of that with the most.
    pub(crate) fewest: u64,
    pub(crate) most: u64,
    /// Nanoseconds and how many calls took them.
    pub(crate) latency: Vec<(u64, u64)>,
}

impl Report {
    /// Its CPU time and allocations are not known here.
    pub(crate) fn new(
        elapsed: Duration,
        outcomes: Vec<Result<Tally, Failure>>,
    ) -> Result<Self, Failure> {
        let mut latency = histogram()?;
        let mut report = Self {
            seconds: elapsed.as_secs_f64(),
            calls: 0,
            answers: 0,
            cpu_seconds: 0.0,
            allocations: None,
            failed: 0,
            failure: None,
            fewest: u64::MAX,
            most: 0,
            latency: Vec::new(),
        };
        for outcome in outcomes {
            match outcome {
                Ok(tally) => {
                    latency.add(&tally.latency)?;
                    report.answers += tally.answers;
                    report.fewest = report.fewest.min(tally.latency.len());
                    report.most = report.most.max(tally.latency.len());
                }
                Err(error) => {
                    report.failed += 1;
                    report.failure.get_or_insert_with(|| error.to_string());
                }
            }
        }
        report.calls = latency.len();
        report.latency = latency
            .iter_recorded()
            .map(|value| (value.value_iterated_to(), value.count_at_value()))
            .collect();
        Ok(report)
    }

    pub(crate) fn histogram(&self) -> Result<Histogram<u64>, Failure> {
        let mut latency = histogram()?;
        for &(nanoseconds, count) in &self.latency {
            latency.record_n(nanoseconds, count)?;
        }
        Ok(latency)
    }
}

/// A histogram that keeps three digits of any time.
fn histogram() -> Result<Histogram<u64>, Failure> {
    Ok(Histogram::new(3)?)
}

/// A time of a histogram, in microseconds.
pub(crate) fn microseconds(latency: &Histogram<u64>, quantile: f64) -> f64 {
    latency.value_at_quantile(quantile) as f64 / 1e3
}
