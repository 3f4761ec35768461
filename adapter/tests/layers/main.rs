//! The arrows of the architecture point in one direction: between crates, and between the modules
//! of the client.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod claims;
mod client;
mod crates;
mod modules;
