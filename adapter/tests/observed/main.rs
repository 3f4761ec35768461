//! What a request carries besides its message, over every carrier, and what observers and metrics
//! show of it.

#![cfg(all(
    feature = "grpc",
    feature = "http",
    feature = "metrics",
    feature = "websocket"
))]
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test may stop at the first surprise"
)]

mod bytes;
mod carriers;
#[allow(dead_code, unused_imports, reason = "this suite uses a part of it")]
#[path = "../it/common/mod.rs"]
mod common;
mod documents;
mod layers;
#[cfg(feature = "opentelemetry-metrics")]
mod meter;
mod metrics;
#[cfg(feature = "opentelemetry")]
mod opentelemetry;
mod recorder;
mod spans;

/// An endpoint of each carrier, with a port that the system chooses.
fn endpoints(test: &str) -> [String; 6] {
    [
        common::memory(test).to_string(),
        "tcp://127.0.0.1:0".to_owned(),
        "ws://127.0.0.1:0".to_owned(),
        "http://127.0.0.1:0".to_owned(),
        "h2c://127.0.0.1:0".to_owned(),
        "grpc://127.0.0.1:0".to_owned(),
    ]
}
