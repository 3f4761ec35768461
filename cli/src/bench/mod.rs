//! The command `bench`, which generates load on an agent and measures throughput and latency.

mod load;
mod report;

use std::{io::IsTerminal, num::NonZeroUsize, time::Duration};

use agentwire::{Endpoint, FrameLimits, Message, RemoteAgent};
use clap::Args;

use self::load::{Load, Until};
use crate::{
    auth_args::TokenArgs,
    codec::CodecArg,
    endpoint_args::parse_connect_endpoint,
    exit::{CliError, Exit},
    frame_limit::parse_frame_limit,
    output, runtime,
    signals::StopSignals,
    timeout::parse_timeout,
    tls_args::TlsClientArgs,
};

/// Call an agent in a loop and print its throughput and latency
///
/// Each connection keeps a fixed number of calls in flight. Whenever a call completes, the next
/// call starts, so the results show the latency under this load. With one connection and one call
/// in flight, the results show the latency of a single call. Replies are read in full, but their
/// content is not checked.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct BenchArgs {
    /// The agent to call: unix:///path/to/socket or tcp://host:port
    #[arg(value_parser = parse_connect_endpoint)]
    endpoint: Endpoint,

    /// The number of connections
    #[arg(short, long, value_name = "COUNT", default_value = "1")]
    connections: NonZeroUsize,

    /// The number of calls in flight on each connection; Python and Go servers process them in
    /// order
    #[arg(
        short = 'q',
        long,
        value_name = "COUNT",
        default_value = "1",
        conflicts_with = "stream"
    )]
    in_flight: NonZeroUsize,

    /// The duration of the run
    #[arg(short, long, value_name = "DURATION", default_value = "10s", value_parser = parse_timeout)]
    duration: Duration,

    /// The number of calls to make, instead of --duration
    #[arg(short = 'n', long, value_name = "COUNT", conflicts_with = "duration")]
    calls: Option<u64>,

    /// The size of the text of each message, in bytes
    #[arg(long, value_name = "BYTES", default_value = "64")]
    size: usize,

    /// Stream the replies, one stream at a time on each connection
    #[arg(long)]
    stream: bool,

    /// The encoding of requests
    #[arg(long, default_value = "json")]
    codec: CodecArg,

    /// The maximum time to wait for a reply, or for each chunk
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse_timeout)]
    timeout: Duration,

    /// The maximum size of a frame to send and to accept, such as 16MiB
    #[arg(long, value_name = "SIZE", default_value = "10MiB", value_parser = parse_frame_limit)]
    frame_limit: FrameLimits,

    /// Print one JSON object with times in microseconds
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    token: TokenArgs,

    #[command(flatten)]
    tls: TlsClientArgs,
}

impl BenchArgs {
    pub(crate) fn run(self) -> Result<(), CliError> {
        let (connections, in_flight) = (self.connections.get(), self.in_flight.get());
        let callers = connections.saturating_mul(in_flight);
        if callers > MAX_CALLERS {
            let text = format!(
                "{connections} connections with {in_flight} calls in flight are more than {MAX_CALLERS} calls"
            );
            return Err(CliError::new(Exit::Usage, text));
        }
        let max = self.frame_limit.max_send();
        if self.size > max {
            let size = self.size;
            let text = format!("--size {size} exceeds --frame-limit, which is {max} bytes");
            return Err(CliError::new(Exit::Usage, text));
        }
        let builder = self.token.apply(RemoteAgent::builder(&self.endpoint))?;
        let remote = builder
            .format(self.codec.into())
            .timeout(self.timeout)
            .max_connections(connections)
            .max_in_flight_per_connection(in_flight)
            .frame_limits(self.frame_limit)
            .tls(self.tls.client()?)
            .build()?;
        let load = Load {
            callers,
            until: match self.calls {
                Some(calls) => Until::Calls(calls),
                None => Until::Elapsed(self.duration),
            },
            message: Message::user("x".repeat(self.size)),
            stream: self.stream,
        };
        let progress = std::io::stderr().is_terminal() && !self.json;
        let work = async {
            let mut signals = StopSignals::start()?;
            load.run(&remote, progress, signals.next()).await
        };
        let measurements = match callers {
            1 => runtime::run_client(work),
            _ => runtime::run_server(work),
        }?;
        let settings = report::Settings {
            endpoint: self.endpoint.to_string(),
            connections,
            in_flight,
            size: self.size,
            stream: self.stream,
        };
        let report = if self.json {
            report::json(&settings, &measurements)
        } else {
            report::text(&settings, &measurements)
        };
        output::print(report.as_bytes())?;
        match measurements.failed() {
            0 => Ok(()),
            failed => {
                let all = failed + measurements.latency.len();
                let text = format!("{failed} of {all} calls failed");
                Err(CliError::new(Exit::Remote, text))
            }
        }
    }
}

const AFTER_HELP: &str = "\
Examples:
  agentwire bench unix:///tmp/echo.sock
  agentwire bench unix:///tmp/echo.sock -c 1 -q 64 -d 5s
  agentwire bench tcp://localhost:8080 -c 64 -n 100000 --codec msgpack --json
  agentwire bench unix:///tmp/count.sock --stream";

/// The maximum number of concurrent calls. Each call has a task of its own.
const MAX_CALLERS: usize = 1_000_000;
