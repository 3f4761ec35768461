//! Measures what security costs a call: TLS beside TCP, and authentication, permissions, quotas and
//! the record. Everything is measured in one run, in turns, with client and server on one thread, to
//! measure work rather than wake-ups.
//!
//! `cargo bench --bench security`, with `--features peers` for tonic.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a program that prints its results"
)]

mod carriers;
mod certificate;
mod checks;
#[cfg(feature = "peers")]
mod grpc;
mod raw;
#[cfg(feature = "peers")]
#[path = "../src/peers/tonic_messages.rs"]
mod tonic_messages;

use tokio::runtime::Builder;

fn main() {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    carriers::run(&runtime);
    checks::run(&runtime);
}
