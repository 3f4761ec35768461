//! The components of the interop tests: servers and clients in both languages, and the cases that
//! they run.
//!
//! The Python components are in `python/`: `serve.py` serves the interop agent, and `call.py` runs
//! cases against a server. This crate contains the Rust components:
//!
//! - [`AgentKind`] serves Rust versions of the agents that `serve.py` defines.
//! - [`cases`] contains the cases of `call.py` under the same names, and additional cases.
//! - [`PythonServer`] and [`PythonCallers`] run the scripts as child processes, [`GoServer`] runs
//!   the program in `go/`, and [`Proxy`] runs the command `agentwire proxy`. [`CaseClient`] runs a
//!   case in Python or Go. Dropping one of these values kills its process.
//! - [`rust_calls_python`], [`python_calls_rust`] and [`rust_calls_rust`] run one case, and
//!   [`test_cases!`] defines a test for each.
//! - [`RecordingAgent`] records its calls in a file, which remains if the process is killed.
//! - [`Relay`] forwards bytes between clients and a server, and breaks their connections.
//!   [`Holdings`] shows what a process has leaked. [`OtlpSink`] collects the spans of processes.
//! - [`TempEndpoint`] is the endpoint of a server for one test. [`within`] limits the duration of a
//!   test.
//!
//! The tests are in `tests/`, with one function for each case and carrier. README.md describes how
//! to run the tests and how to add a case.

mod agent;
mod case_client;
#[allow(
    clippy::missing_errors_doc,
    reason = "every case fails the same way: with what the agent did wrong"
)]
pub mod cases;
mod directions;
mod failure;
mod go_peer;
mod holdings;
mod otlp;
mod process;
mod proxy;
mod python;
mod python_peer;
mod random;
mod raw;
mod recording_agent;
mod relay;
mod rust_server;
mod temp_endpoint;
mod test_cases;
mod time;
mod wire;

pub use crate::{
    agent::AgentKind,
    case_client::CaseClient,
    directions::{python_calls_rust, rust_calls_python, rust_calls_rust},
    failure::{TestFailure, TestResult, expect, expect_that},
    go_peer::{GoServer, list_go_cases},
    holdings::Holdings,
    otlp::{OtlpSink, Span},
    proxy::{Proxy, agentwire_command},
    python::script_command,
    python_peer::{PythonCallers, PythonPeer, PythonServer, list_cases},
    random::Generator,
    recording_agent::{CallLog, CallRecord, RecordingAgent},
    relay::{Relay, Socket},
    rust_server::RustServer,
    temp_endpoint::{Carrier, TempEndpoint},
    time::within,
    wire::{Target, Wire},
};
