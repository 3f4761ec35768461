//! The measured values of the peers.

use serde::{Deserialize, Serialize};

use crate::{
    median::median,
    peer::{Carrier, Peer},
    scenario::Scenario,
};

/// The values of one metric of one peer, with one value for each round.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Sample {
    #[serde(flatten)]
    pub(crate) cell: Cell,
    pub(crate) values: Vec<f64>,
}

/// The peer, carrier, scenario and metric of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cell {
    pub(crate) peer: Peer,
    pub(crate) carrier: Carrier,
    pub(crate) scenario: Scenario,
    pub(crate) metric: Metric,
}

/// A measured quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Metric {
    CallsPerSecond,
    /// The number of stream chunks per second.
    ChunksPerSecond,
    /// The median latency in microseconds.
    P50,
    P99,
    P999,
    /// The CPU time per call in microseconds, for client and server together.
    Cpu,
    /// The number of system calls per call, for client and server together.
    Syscalls,
    /// The number of allocations per call, for client and server together.
    Allocations,
    /// The server memory per connection, in bytes.
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

/// Adds the value of one round.
pub(crate) fn record(samples: &mut Vec<Sample>, cell: Cell, value: f64) {
    match samples.iter_mut().find(|sample| sample.cell == cell) {
        Some(sample) => sample.values.push(value),
        None => samples.push(Sample {
            cell,
            values: vec![value],
        }),
    }
}

/// Returns the median of all rounds, or `None` if there are no values.
pub(crate) fn value(samples: &[Sample], cell: Cell) -> Option<f64> {
    let sample = samples.iter().find(|sample| sample.cell == cell)?;
    Some(median(sample.values.clone()))
}
