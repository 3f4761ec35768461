//! The integration tests of `agentwire`, in one binary: a module for each subject.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test may stop at the first surprise"
)]

mod common;

mod bad_input;
mod by_name;
mod by_name_failing;
mod by_name_registry;
mod client;
mod client_settings;
mod context;
mod custom_transports;
mod delivery;
mod describe;
mod dns;
mod endpoints;
mod fairness;
mod foreign_protocols;
mod hostile;
mod multiplexing;
mod observability;
mod observer;
mod peer_kind;
mod proxy;
#[cfg(feature = "redis")]
mod redis;
mod registering;
mod registry_contract;
mod registry_wire;
mod retry;
mod round_trip;
mod runtimes;
mod send_sync;
mod several_agents;
mod shared_connections;
mod shutdown;
mod simulation;
mod stale_connections;
mod stream_ends;
mod streaming;
mod tools;
mod untrusted_texts;
#[cfg(feature = "websocket")]
mod websocket;
