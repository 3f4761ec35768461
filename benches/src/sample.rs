use serde::{Deserialize, Serialize};

use crate::{
    median::median,
    peers::{Carrier, Peer},
    scenario::Scenario,
};

/// One number that was measured.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) peer: Peer,
    pub(crate) carrier: Carrier,
    pub(crate) scenario: Scenario,
    pub(crate) metric: Metric,
    pub(crate) round: usize,
    pub(crate) value: f64,
}

/// What a number is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Metric {
    CallsPerSecond,
    /// Of streams.
    ChunksPerSecond,
    /// In microseconds.
    P50,
    P99,
    P999,
    /// Of a call, on both sides, in microseconds.
    Cpu,
    /// Of a call, on both sides.
    Syscalls,
    /// Of a call, on both sides.
    Allocations,
    /// Of the server, for each connection, in bytes.
    Memory,
}

impl Metric {
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::CallsPerSecond => "calls/s",
            Self::ChunksPerSecond => "chunks/s",
            Self::P50 => "p50",
            Self::P99 => "p99",
            Self::P999 => "p99.9",
            Self::Cpu => "CPU time",
            Self::Syscalls => "system calls",
            Self::Allocations => "allocations",
            Self::Memory => "memory",
        }
    }
}

/// The median of the rounds, if there were any.
pub(crate) fn value(
    samples: &[Sample],
    peer: Peer,
    carrier: Carrier,
    scenario: Scenario,
    metric: Metric,
) -> Option<f64> {
    let values: Vec<f64> = samples
        .iter()
        .filter(|sample| {
            (sample.peer, sample.carrier, sample.scenario, sample.metric)
                == (peer, carrier, scenario, metric)
        })
        .map(|sample| sample.value)
        .collect();
    (!values.is_empty()).then(|| median(values))
}
