//! The report that a client process prints.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::{BenchError, load::Tally};

/// The measurement of a client process, which the process prints as JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) seconds: f64,
    /// The number of successful calls.
    pub(crate) calls: u64,
    /// The number of replies to these calls. Each chunk of a stream counts as one reply.
    pub(crate) answers: u64,
    pub(crate) cpu_seconds: f64,
    /// The number of allocations of the entire process, or `None` if its allocator does not count
    /// them.
    #[serde(default)]
    pub(crate) allocations: Option<u64>,
    /// The number of callers that failed, and the error of one of them.
    pub(crate) failed: u64,
    pub(crate) failure: Option<String>,
    /// The number of calls of the caller with the fewest calls, and of the caller with the most
    /// calls.
    pub(crate) fewest: u64,
    pub(crate) most: u64,
    /// The latencies in nanoseconds, each with the number of calls.
    pub(crate) latency: Vec<(u64, u64)>,
}

impl Report {
    /// Creates a report from the outcomes of all callers. The caller must set the CPU time and the
    /// allocations separately.
    pub(crate) fn new(
        elapsed: Duration,
        outcomes: Vec<Result<Tally, BenchError>>,
    ) -> Result<Self, BenchError> {
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

    pub(crate) fn histogram(&self) -> Result<Histogram<u64>, BenchError> {
        let mut latency = histogram()?;
        for &(nanoseconds, count) in &self.latency {
            latency.record_n(nanoseconds, count)?;
        }
        Ok(latency)
    }
}

/// Creates a histogram that keeps three significant digits.
fn histogram() -> Result<Histogram<u64>, BenchError> {
    Ok(Histogram::new(3)?)
}

/// Returns a quantile of a histogram, in microseconds.
pub(crate) fn microseconds(latency: &Histogram<u64>, quantile: f64) -> f64 {
    latency.value_at_quantile(quantile) as f64 / 1e3
}
