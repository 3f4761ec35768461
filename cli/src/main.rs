//! The `agentwire` program, which serves, calls and inspects agents from the command line.

mod admin;
mod agents;
mod auth_args;
mod bench;
mod call;
mod cli;
mod codec;
mod color;
mod completions;
mod describe;
mod doors;
mod endpoint_args;
mod execute;
mod exit;
mod explain;
mod frame_limit;
mod logging;
mod man;
mod message_args;
mod otlp;
mod output;
mod ping;
mod pretty;
mod progress_bar;
mod proxy;
mod recode;
mod registrations;
mod registry;
mod registry_url;
mod reply_args;
mod runtime;
mod serve;
mod server_args;
mod serving;
mod signals;
mod socket_file;
mod sockets;
mod stderr;
mod stream;
mod target_args;
mod terminal;
mod timeout;
mod tls_args;
mod token;
mod tools;
mod top;
mod usage;
mod wait_args;

use std::process::ExitCode;

use crate::{cli::Cli, exit::Exit};

fn main() -> ExitCode {
    let exit = match Cli::read().and_then(Cli::run) {
        Ok(()) => Exit::Success.into(),
        Err(error) => error.report(),
    };
    otlp::flush();
    stderr::flush();
    exit
}
