//! The tests of authentication, permissions, quotas and the audit record.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test may stop at the first surprise"
)]

mod audit;
mod calls;
mod matrix;
mod registry;
mod support;
