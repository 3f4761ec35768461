//! Runs one program of the documents: agentwire-docs-program DOCUMENT:BLOCK

#![allow(
    clippy::all,
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    missing_debug_implementations,
    unused,
    reason = "the programs are written for readers"
)]

use std::process::ExitCode;

include!(concat!(env!("OUT_DIR"), "/programs.rs"));

fn main() -> ExitCode {
    run(&std::env::args().nth(1).unwrap_or_default())
}
