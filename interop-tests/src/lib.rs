//! What the interop tests are made of: the two sides, and the cases that they run.
//!
//! Python's half lives in `python/`: `serve.py` serves the interop agent, `call.py` runs cases
//! against one. This crate is Rust's half:
//!
//! - [`AgentKind`] names the agents that `serve.py` defines, and serves them in Rust.
//! - [`cases`] are the cases of `call.py` under the same names, and some more.
//! - [`PeerServer`] and [`PeerClient`] run the scripts as child processes that end on drop;
//!   [`Proxy`] runs the command `agentwire proxy` in the same way.
//! - [`Witness`] is an agent that notes what it does in a file, which outlives it.
//! - [`Site`] is where a server listens during one test; [`within`] is the limit of its time.
//!
//! The tests themselves are in `tests/`, one function for each case and carrier. README.md tells
//! how to run them and how to add a case.

mod agent;
pub mod cases;
mod failure;
mod peer;
mod process;
mod proxy;
mod python;
mod random;
mod raw;
mod relay;
mod rust_server;
mod site;
mod test_cases;
mod time;
mod way;
mod witness;

pub use crate::{
    agent::AgentKind,
    failure::{Failure, Outcome, expect, expect_that},
    peer::{PeerClient, PeerServer, list_cases, peer_is_agenkit, skip},
    proxy::Proxy,
    python::script_command,
    random::Generator,
    relay::Relay,
    rust_server::RustServer,
    site::{Carrier, Site},
    time::within,
    way::{Target, Way},
    witness::{Notes, Witness},
};
