//! The values of one peer in one scenario.

use serde::{Deserialize, Serialize};

use crate::{
    median::median,
    peer::{Carrier, Peer},
    scenario::Scenario,
};

/// One quantity of one peer, with a value for each round.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Sample {
    #[serde(flatten)]
    pub(crate) cell: Cell,
    pub(crate) values: Vec<f64>,
}

/// What a value measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cell {
    pub(crate) peer: Peer,
    pub(crate) carrier: Carrier,
    pub(crate) scenario: Scenario,
    pub(crate) metric: Metric,
}

/// A quantity that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Metric {
    CallsPerSecond,
    /// Chunks of streams.
    ChunksPerSecond,
    /// Median latency in microseconds.
    P50,
    P99,
    P999,
    /// CPU time of a call on both sides, in microseconds.
    Cpu,
    /// System calls of a call on both sides.
    Syscalls,
    /// Allocations of a call on both sides.
    Allocations,
    /// Server memory per connection, in bytes.
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

/// Adds the value of another round.
pub(crate) fn record(samples: &mut Vec<Sample>, cell: Cell, value: f64) {
    match samples.iter_mut().find(|sample| sample.cell == cell) {
        Some(sample) => sample.values.push(value),
        None => samples.push(Sample {
            cell,
            values: vec![value],
        }),
    }
}

/// Returns the median of the rounds, if there were any.
pub(crate) fn value(samples: &[Sample], cell: Cell) -> Option<f64> {
    let sample = samples.iter().find(|sample| sample.cell == cell)?;
    Some(median(sample.values.clone()))
}
