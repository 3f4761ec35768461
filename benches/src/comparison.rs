//! The results of `compare`, in the format of its JSON file.

use serde::{Deserialize, Serialize};

use crate::{machine::Machine, sample::Sample, tracer::Tracer};

/// The results of one run of `compare`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Comparison {
    pub(crate) machine: Machine,
    pub(crate) seconds: f64,
    pub(crate) rounds: usize,
    /// The program that counted system calls.
    pub(crate) tracer: Option<Tracer>,
    /// The measurements that were omitted, with the reasons.
    pub(crate) left_out: Vec<String>,
    pub(crate) samples: Vec<Sample>,
}
