//! The tests of authentication, permissions, quotas and the audit record.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test may stop at the first surprise"
)]

mod audit;
#[cfg(feature = "tls-ring")]
#[path = "../common/authority.rs"]
mod authority;
mod calls;
#[cfg(feature = "tls-ring")]
mod certificates;
mod matrix;
mod observed;
mod registry;
mod support;
#[cfg(feature = "websocket")]
mod websocket;
