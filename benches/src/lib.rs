//! Measures what agentwire costs, beside its peers. A set of programs, not a library.
//!
//! `cargo run --release -p agentwire-benches -- compare` starts a server process and a client
//! process for each peer, alternating between peers in each round, and prints tables.
//! `docs/performance.md` explains the numbers.
//!
//! A `Trial` (trial.rs) starts the processes. They run `serve` (server.rs) and `drive` (client.rs),
//! which call into one file of peers/; `ServerControl` and `Workload` are what all peers share.

mod aims;
mod cli;
mod client;
mod compare;
mod comparison;
mod counters;
mod document;
mod load;
mod machine;
mod median;
mod peer;
mod peers;
mod plot;
mod process;
mod report;
mod sample;
mod scale;
mod scenario;
mod server;
mod server_control;
mod shape;
mod socket;
mod summary;
mod table;
mod tracer;
mod trial;
mod workload;

/// Why a measurement failed.
pub type BenchError = Box<dyn std::error::Error + Send + Sync>;

pub use crate::{cli::run, counters::Allocations};
