//! Hostile peers: what one of them may cost a server, a client, and everybody else.
//!
//! Each module states its bounds as constants at its end.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test may stop at the first surprise"
)]

#[allow(dead_code, unused_imports, reason = "this suite uses a part of it")]
#[path = "../it/common/mod.rs"]
mod common;

mod answerable;
mod http;
mod leaving;
mod limits;
mod memory;
mod rate;
mod registry;
mod shares;
mod stall;
mod starved;
mod stopping;
