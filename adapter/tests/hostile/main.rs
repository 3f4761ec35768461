//! Hostile peers: what one of them may cost a server, a client, and everybody else.
//!
//! Each module states its bounds as constants at its end.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

#[path = "../it/common/frames.rs"]
#[allow(dead_code, reason = "this suite uses a part of it")]
mod frames;
mod stall;
#[allow(dead_code, reason = "this suite uses a part of it")]
#[path = "../it/common/waiting.rs"]
mod waiting;
