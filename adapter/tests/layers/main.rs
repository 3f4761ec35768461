//! The arrows of the architecture point in one direction: between crates, between the modules of
//! the client, and between those of the server's carrier of frames.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod claims;
mod client;
mod crates;
mod modules;
mod packages;
mod server;
