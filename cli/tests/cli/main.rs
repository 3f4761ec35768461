//! Runs the real program, over Unix sockets and TCP, against itself and against scripted peers.
//!
//! One test binary, because linking takes longer than testing.

// Signals and Unix sockets are in nearly every test.
#![cfg(unix)]
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test may stop at the first surprise"
)]

mod bench;
mod by_name;
mod call;
mod documents;
mod peer;
mod program;
mod proxy;
mod recode;
mod redis;
mod registry;
mod serve;
mod stream;
mod usage;
