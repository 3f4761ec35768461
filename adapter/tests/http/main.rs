//! Agents over HTTP.

#![cfg(feature = "http")]
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test may stop at the first surprise"
)]

#[cfg(feature = "auth")]
mod auth;
mod client;
#[allow(dead_code, unused_imports, reason = "this suite uses a part of it")]
#[path = "../it/common/mod.rs"]
mod common;
mod hostile;
mod mount;
mod peer;
mod pool;
mod probes;
#[cfg(all(feature = "grpc", feature = "tls-ring", feature = "websocket"))]
mod proxy_matrix;
mod rapid_reset;
mod server;
#[path = "../common/shared_connection.rs"]
mod shared_connection;
#[cfg(feature = "tls-ring")]
mod tls;
mod unread;
#[cfg(feature = "websocket")]
mod websocket;
