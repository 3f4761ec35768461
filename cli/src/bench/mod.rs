//! The command `bench`, which generates load on an agent and measures throughput and latency.

mod load;
mod rate;
mod report;

use std::{io::IsTerminal, num::NonZeroUsize, time::Duration};

use agentwire::{Map, Message, Value};
use clap::Args;
use tokio::time::timeout;

use self::{
    load::{Load, Until, Work},
    rate::{Rate, parse_rate},
};
use crate::{
    color,
    exit::{CliError, Exit},
    message_args::{Json, parse_content},
    output, runtime,
    signals::StopSignals,
    target_args::{Address, Pool, Target, TargetArgs},
    timeout::parse_timeout,
};

/// Call an agent in a loop and print its throughput and latency
///
/// Each connection keeps a fixed number of calls in flight. Whenever a call completes, the next
/// call starts, so the results show the latency under this load. With one connection and one call
/// in flight, the results show the latency of a single call. Replies are read in full, but their
/// content is not checked.
///
/// With --rate, calls start at fixed times instead, whatever the server does, and each latency
/// begins at the time at which the call should have started. The connections and the calls in
/// flight limit the number of concurrent calls.
///
/// Ctrl-C ends the run and prints the results. If calls have failed, the exit code is 1.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct BenchArgs {
    #[command(flatten)]
    target: TargetArgs,

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

    /// Start this many calls in each second, such as 500/s, or in each minute, such as 60/m
    #[arg(long, value_name = "N/s", value_parser = parse_rate)]
    rate: Option<Rate>,

    /// Make calls for this long before the run, without measuring them
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = parse_timeout)]
    warm_up: Duration,

    /// Run this tool instead of calling the agent
    #[arg(long, value_name = "NAME", conflicts_with_all = ["stream", "size"])]
    tool: Option<String>,

    /// The arguments of the tool, as a JSON object; - reads standard input and @FILE a file
    #[arg(long, value_name = "JSON", value_parser = parse_content, requires = "tool",
          allow_hyphen_values = true)]
    args: Option<Json>,

    /// The size of the text of each message, in bytes
    #[arg(long, value_name = "BYTES", default_value = "64")]
    size: usize,

    /// Stream the replies, one stream at a time on each connection
    #[arg(long)]
    stream: bool,

    /// Print one JSON object with times in microseconds
    #[arg(long)]
    json: bool,
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
        let target = self.target.resolve_alone()?;
        let max = target.frame_limit().max_send();
        if self.size > max {
            let size = self.size;
            let text = format!("--size {size} exceeds --frame-limit, which is {max} bytes");
            return Err(CliError::new(Exit::Usage, text));
        }
        let remote = target.pooled_client(Pool {
            connections,
            in_flight,
        })?;
        let work = match (self.tool, self.args) {
            (None, _) if self.stream => Work::Stream(Message::user("x".repeat(self.size))),
            (None, _) => Work::Call(Message::user("x".repeat(self.size))),
            (Some(tool), None) => Work::Tool(tool, Map::new()),
            (Some(tool), Some(args)) => match args.read("--args")? {
                Value::Map(args) => Work::Tool(tool, args),
                other => {
                    let problem = format!("--args: expected a JSON object, found {}", other.kind());
                    return Err(CliError::new(Exit::Usage, problem));
                }
            },
        };
        let load = Load {
            callers,
            until: match self.calls {
                Some(calls) => Until::Calls(calls),
                None => Until::Elapsed(self.duration),
            },
            warm_up: self.warm_up,
            rate: self.rate,
            work,
        };
        let progress = std::io::stderr().is_terminal() && !color::is_dumb() && !self.json;
        let settings = report::Settings {
            endpoint: match target.address() {
                Address::Endpoint(endpoint, _) => endpoint.to_string(),
                Address::Registry(_, name) => name.clone(),
            },
            connections,
            in_flight,
            size: self.size,
            rate: self.rate,
            work: load.work.clone(),
        };
        let run = async {
            let mut signals = StopSignals::start()?;
            let measured = load.run(&remote, progress, signals.next()).await;
            match measured {
                Err(silence) if silence.exit() == Exit::TimedOut => {
                    Err(unreachable(&target).await.unwrap_or(silence))
                }
                measured => measured,
            }
        };
        let measurements = if callers == 1 {
            runtime::run_client(run)
        } else {
            runtime::run_server(run)
        }?;
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

/// Returns why no call was answered if the server cannot be reached. The client of a run cannot say
/// so, because it still tries to connect at the end of the run.
async fn unreachable(target: &Target) -> Option<CliError> {
    let remote = target.client().ok()?;
    match timeout(CHECK_TIMEOUT, remote.ping()).await {
        Ok(Err(error)) if error.is_connect() => Some(error.into()),
        _ => None,
    }
}

/// The time to find out whether a server can be reached.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

const AFTER_HELP: &str = "\
Examples:
  agentwire bench unix:///tmp/echo.sock
  agentwire bench unix:///tmp/echo.sock -c 1 -q 64 -d 5s
  agentwire bench tcp://localhost:8080 -c 64 -n 100000 --codec msgpack --json
  agentwire bench unix:///tmp/count.sock --stream
  agentwire bench tcp://localhost:8080 -c 16 --rate 500/s --warm-up 2s -d 30s
  agentwire bench tcp://localhost:8080 --tool add --args '{\"a\": 1, \"b\": 2}'
  agentwire bench --registry tcp://localhost:7000 --name weather";

/// The maximum number of concurrent calls. Each call has a task of its own.
const MAX_CALLERS: usize = 1_000_000;
