//! Runs the program over Unix sockets and TCP, against itself and against scripted peers.
//!
//! All tests share one binary, because linking takes longer than running them.

// Nearly every test uses signals or Unix sockets.
#![cfg(unix)]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests may panic")]

mod admin;
mod audit;
mod auth;
mod bench;
mod by_name;
mod call;
mod documents;
mod grpc;
mod leaks;
mod log;
mod otlp;
#[cfg(feature = "chromium")]
mod page;
mod peer;
mod program;
mod proxy;
mod quota;
mod recode;
mod redis;
mod registry;
mod serve;
mod sockets;
mod stream;
mod tools;
mod usage;
