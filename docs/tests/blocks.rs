//! The tests that the documents show.

#![allow(
    clippy::all,
    clippy::unwrap_used,
    clippy::expect_used,
    missing_debug_implementations,
    unused,
    reason = "the tests are written for readers"
)]

include!(concat!(env!("OUT_DIR"), "/tests.rs"));
