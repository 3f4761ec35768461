mod load;
mod report;

use std::{io::IsTerminal, num::NonZeroUsize, time::Duration};

use agentwire::{Endpoint, Message, RemoteAgent};
use clap::Args;

use self::load::{Load, Until};
use crate::{
    codec::CodecArg, exit::Failure, output, runtime, target::parse_target_endpoint,
    timeout::parse_timeout,
};

/// Call an agent as often as it answers, and print how fast that was
///
/// Each connection has so many calls in flight; each call is made when the one before it is answered, so
/// the latency is that of a server that is as busy as these make it. With one call in flight, it is that of
/// a lone call. Every answer is read; its content is not looked at.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct BenchArgs {
    /// Where the agent is: unix:///path/to/socket or tcp://host:port
    #[arg(value_parser = parse_target_endpoint)]
    endpoint: Endpoint,

    /// How many connections to call over
    #[arg(short, long, value_name = "COUNT", default_value = "1")]
    connections: NonZeroUsize,

    /// How many calls to have in flight on each connection; servers in Python and Go answer them in order
    #[arg(
        short = 'q',
        long,
        value_name = "COUNT",
        default_value = "1",
        conflicts_with = "stream"
    )]
    in_flight: NonZeroUsize,

    /// For how long to call
    #[arg(short, long, value_name = "DURATION", default_value = "10s", value_parser = parse_timeout)]
    duration: Duration,

    /// How many calls to make, in place of a duration
    #[arg(short = 'n', long, value_name = "COUNT", conflicts_with = "duration")]
    calls: Option<u64>,

    /// The size of the text in each message, in bytes
    #[arg(long, value_name = "BYTES", default_value = "64")]
    size: usize,

    /// Ask for streams in place of single answers, one at a time on each connection
    #[arg(long)]
    stream: bool,

    /// How to write to the agent
    #[arg(long, default_value = "json")]
    codec: CodecArg,

    /// How long to wait for an answer, or from chunk to chunk
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse_timeout)]
    timeout: Duration,

    /// Print one JSON object, for machines; times are in microseconds
    #[arg(long)]
    json: bool,
}

const AFTER_HELP: &str = "\
Examples:
  agentwire bench unix:///tmp/echo.sock
  agentwire bench unix:///tmp/echo.sock -c 1 -q 64 -d 5s
  agentwire bench tcp://localhost:8080 -c 64 -n 100000 --codec msgpack --json
  agentwire bench unix:///tmp/count.sock --stream";

impl BenchArgs {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let (connections, in_flight) = (self.connections.get(), self.in_flight.get());
        let remote = RemoteAgent::builder(self.endpoint)
            .format(self.codec.into())
            .timeout(self.timeout)
            .max_connections(connections)
            .max_in_flight_per_connection(in_flight)
            .build()?;
        let load = Load {
            callers: connections.saturating_mul(in_flight),
            until: match self.calls {
                Some(calls) => Until::Calls(calls),
                None => Until::Elapsed(self.duration),
            },
            message: Message::user("x".repeat(self.size)),
            stream: self.stream,
        };
        let progress = std::io::stderr().is_terminal() && !self.json;
        let work = load.clone().run(&remote, progress);
        let outcome = match load.callers {
            1 => runtime::run_client(work),
            _ => runtime::run_server(work),
        }?;
        let setting = report::Setting {
            endpoint: remote.endpoint().to_string(),
            connections,
            in_flight,
            size: self.size,
            stream: self.stream,
        };
        output::print(
            match self.json {
                true => report::for_machines(&setting, &outcome),
                false => report::for_people(&setting, &outcome),
            }
            .as_bytes(),
        )
    }
}
