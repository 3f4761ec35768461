//! Benchmarks that compare the cost of agentwire with the cost of other RPC implementations. This
//! package is a set of programs, not a library.
//!
//! `cargo run --release -p agentwire-benches -- compare` starts a server process and a client
//! process for each peer, alternates between the peers in each round, and prints tables.
//! `docs/performance.md` explains the results.
//!
//! A `Trial` (trial.rs) starts the processes. The processes run the commands `serve` (server.rs)
//! and `drive` (client.rs), which call the implementation of the peer in peers/. All peers share
//! `ServerControl` and `Workload`.

mod aims;
mod cli;
mod client;
mod compare;
mod comparison;
mod counters;
mod document;
mod doors;
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

/// The error of a failed measurement.
pub type BenchError = Box<dyn std::error::Error + Send + Sync>;

pub use crate::{cli::run, counters::Allocations};
