use serde::{Deserialize, Serialize};

use crate::{
    median::median,
    peers::{Carrier, Peer},
    scenario::Scenario,
};

/// One number of one peer, measured once in each round.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Sample {
    #[serde(flatten)]
    pub(crate) cell: Cell,
    pub(crate) values: Vec<f64>,
}

/// Whose number it is, and of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cell {
    pub(crate) peer: Peer,
    pub(crate) carrier: Carrier,
    pub(crate) scenario: Scenario,
    pub(crate) metric: Metric,
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

/// Adds the value of one more round.
pub(crate) fn record(samples: &mut Vec<Sample>, cell: Cell, value: f64) {
    match samples.iter_mut().find(|sample| sample.cell == cell) {
        Some(sample) => sample.values.push(value),
        None => samples.push(Sample {
            cell,
            values: vec![value],
        }),
    }
}

/// The median of the rounds, if there were any.
pub(crate) fn value(samples: &[Sample], cell: Cell) -> Option<f64> {
    let sample = samples.iter().find(|sample| sample.cell == cell)?;
    Some(median(sample.values.clone()))
}
