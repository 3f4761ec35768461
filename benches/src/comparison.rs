//! The results of `compare`, as its JSON file holds them.

use serde::{Deserialize, Serialize};

use crate::{machine::Machine, sample::Sample, tracer::Tracer};

/// Everything that one run of `compare` measured.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Comparison {
    pub(crate) machine: Machine,
    pub(crate) seconds: f64,
    pub(crate) rounds: usize,
    /// The program that counted system calls.
    pub(crate) tracer: Option<Tracer>,
    /// What was not measured, and why.
    pub(crate) left_out: Vec<String>,
    pub(crate) samples: Vec<Sample>,
}
