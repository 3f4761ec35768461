//! Tables of what the codec encodes and decodes, in the order of the rules of PROTOCOL.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests may panic")]

mod byte_for_byte;
mod faults;
mod fixtures;
mod lenient;
mod privacy;
mod raw;
mod repeated_keys;
mod unwritable;
