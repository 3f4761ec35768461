//! What agentwire costs, measured beside its peers: a laboratory, not a library.
//!
//! `cargo run --release -p agentwire-benches -- compare` starts a server process and a client process for each
//! peer, in rounds that take turns, and prints one table. What the numbers mean is in `docs/performance.md`.

mod aims;
mod cli;
mod client;
mod compare;
mod counters;
mod document;
mod load;
mod machine;
mod median;
mod peers;
mod plot;
mod process;
mod report;
mod sample;
mod scale;
mod scenario;
mod server;
mod shape;
mod socket;
mod summary;
mod table;
mod tracer;
mod trial;

/// What a measurement ends with that cannot be made.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

pub use crate::{cli::run, counters::Allocations};
