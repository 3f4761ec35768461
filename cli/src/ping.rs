//! The command `ping`, which measures round trips.

use std::time::Duration;

use agentwire::{Map, RemoteAgent, Value, transport::internal::Escaped};
use clap::Args;
use hdrhistogram::Histogram;
use tokio::time::{Instant, sleep_until};

use crate::{
    exit::{CliError, Exit},
    output, runtime,
    signals::StopSignals,
    target_args::{Address, TargetArgs},
    timeout::parse_timeout,
    wait_args::WaitArgs,
};

/// Measure round trips to a server
///
/// Each round trip is one heartbeat, which reaches the server but no agent, so it shows whether the
/// server lives even if all of its agents are busy. The first round trip includes connecting.
///
/// The exit code is 0 if the server answered at least once, as a health check of a container
/// expects. Otherwise it is 1 if the server refused the last ping, and 3 if it cannot be reached.
/// Ctrl-C ends the command and prints the summary.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct PingArgs {
    #[command(flatten)]
    target: TargetArgs,

    /// The number of round trips, or 0 to continue until Ctrl-C
    #[arg(short, long, value_name = "COUNT", default_value = "4")]
    count: u64,

    /// The time from the start of one round trip to the start of the next
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = parse_timeout)]
    interval: Duration,

    /// Print one JSON object per round trip and one for the summary, with times in milliseconds
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    wait: WaitArgs,
}

impl PingArgs {
    pub(crate) fn run(self) -> Result<(), CliError> {
        let target = self.target.resolve_alone()?;
        let remote = target.client()?;
        let server = match target.address() {
            Address::Endpoint(endpoint, _) => endpoint.to_string(),
            Address::Registry(_, name) => format!("{name:?}"),
        };
        let mut pings = Pings::new(self.json)?;
        runtime::run_follower(async {
            let mut signals = StopSignals::start()?;
            tokio::select! {
                result = pings.run(&remote, self.count, self.interval, self.wait) => result,
                () = signals.next() => Ok(()),
            }
        })?;
        pings.summarize(&server)
    }
}

/// The round trips that have ended.
struct Pings {
    is_json: bool,
    times: Times,
    lost: u64,
    last_loss: Option<Loss>,
}

/// The error of a round trip.
struct Loss {
    code: String,
    error: CliError,
}

impl Pings {
    fn new(is_json: bool) -> Result<Self, CliError> {
        Ok(Self {
            is_json,
            times: Times::new()?,
            lost: 0,
            last_loss: None,
        })
    }

    async fn run(
        &mut self,
        remote: &RemoteAgent,
        count: u64,
        interval: Duration,
        wait: WaitArgs,
    ) -> Result<(), CliError> {
        let mut waiting = wait.start();
        let mut number = 1;
        loop {
            let start = Instant::now();
            match remote.ping().await {
                Ok(time) => {
                    self.times.record(time);
                    self.print_answer(number, time)?;
                }
                // `--wait` concerns the start of the server, so it ends with the first answer.
                Err(error) if self.times.count() == 0 && waiting.may_retry(&error).await => {
                    continue;
                }
                Err(error) => {
                    let code = error.code().to_string();
                    let error = CliError::from(error);
                    self.lost += 1;
                    self.print_loss(number, &code, error.text())?;
                    self.last_loss = Some(Loss { code, error });
                }
            }
            if number == count {
                return Ok(());
            }
            number += 1;
            match start.checked_add(interval) {
                Some(next) => sleep_until(next).await,
                None => std::future::pending().await,
            }
        }
    }

    fn print_answer(&self, number: u64, time: Duration) -> Result<(), CliError> {
        if self.is_json {
            let line = [("number", Value::from(number)), ("ms", millis(time).into())];
            output::print_json(Map::from(line))
        } else {
            output::print_line(format_args!("{number}: {:.3} ms", millis(time)))
        }
    }

    fn print_loss(&self, number: u64, code: &str, text: &str) -> Result<(), CliError> {
        if self.is_json {
            output::print_json(Map::from([
                ("number", Value::from(number)),
                ("code", code.into()),
                ("error", text.into()),
            ]))
        } else {
            // The text is long, so it is printed only when the code changes.
            let last = self.last_loss.as_ref();
            let is_known = last.is_some_and(|last| last.code == code);
            let reason = if is_known { code } else { text };
            output::print_line(format_args!("{number}: lost: {}", Escaped(reason)))
        }
    }

    /// Prints the summary. Returns an error if no round trip was completed.
    fn summarize(self, server: &str) -> Result<(), CliError> {
        let (times, lost) = (self.times.summary(), self.lost);
        let all = self.times.count() + lost;
        if self.is_json {
            let mut line = Map::from([("sent", Value::from(all)), ("lost", lost.into())]);
            if let Some([min, median, max]) = times.map(|times| times.map(millis)) {
                line.insert("min_ms", min);
                line.insert("median_ms", median);
                line.insert("max_ms", max);
            }
            output::print_json(line)?;
        } else {
            let percent = if all == 0 {
                0.0
            } else {
                lost as f64 / all as f64 * 100.0
            };
            let mut line = format!("{all} sent, {lost} lost ({percent:.0} %)");
            if let Some([min, median, max]) = times.map(|times| times.map(millis)) {
                line += &format!("; min/median/max {min:.3}/{median:.3}/{max:.3} ms");
            }
            output::print_line(line)?;
        }
        if times.is_some() {
            return Ok(());
        }
        let reason = match &self.last_loss {
            Some(loss) if self.is_json => loss.error.text(),
            // The line of the loss has the text.
            Some(loss) => &loss.code,
            None => "stopped by a signal",
        };
        let is_refused = |loss: &Loss| loss.error.exit() == Exit::Remote;
        let (exit, problem) = if self.last_loss.as_ref().is_some_and(is_refused) {
            (Exit::Remote, "pings refused by")
        } else {
            (Exit::Unreachable, "no answer from")
        };
        Err(CliError::new(exit, format!("{problem} {server}: {reason}")))
    }
}

/// The distribution of the round trips. Its memory does not grow with their number.
struct Times {
    /// The times in nanoseconds.
    histogram: Histogram<u64>,
    min: Duration,
    max: Duration,
}

impl Times {
    fn new() -> Result<Self, CliError> {
        let histogram =
            Histogram::new(DIGITS).map_err(|error| CliError::from_error(Exit::Usage, &error))?;
        Ok(Self {
            histogram,
            min: Duration::MAX,
            max: Duration::ZERO,
        })
    }

    fn record(&mut self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        // Only a histogram that cannot grow refuses a value.
        let _ = self.histogram.record(nanos);
        self.min = self.min.min(time);
        self.max = self.max.max(time);
    }

    /// Returns the number of round trips.
    fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// Returns the minimum, the median and the maximum, unless there are no times.
    fn summary(&self) -> Option<[Duration; 3]> {
        let median = Duration::from_nanos(self.histogram.value_at_quantile(0.5));
        (self.count() > 0).then(|| [self.min, median.clamp(self.min, self.max), self.max])
    }
}

/// Returns a time in milliseconds, rounded to microseconds.
fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// The significant digits of the median.
const DIGITS: u8 = 3;

const AFTER_HELP: &str = "\
Examples:
  agentwire ping unix:///tmp/echo.sock
  agentwire ping tcp://localhost:8080 -c 1 --timeout 2s
  agentwire ping tcp://localhost:8080 -c 0 --interval 100ms
  agentwire ping --registry tcp://localhost:7000 --name weather --json";

#[cfg(test)]
mod tests {
    use super::*;

    fn times(millis: impl IntoIterator<Item = u64>) -> Times {
        let mut times = Times::new().unwrap();
        for millis in millis {
            times.record(Duration::from_millis(millis));
        }
        times
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(times([]).summary(), None);
        for (all, expected) in [
            (&[3][..], [3, 3, 3]),
            (&[9, 1, 4], [1, 4, 9]),
            (&[9, 1, 4, 2], [1, 2, 9]),
        ] {
            let [min, median, max] = times(all.iter().copied()).summary().unwrap();
            let [first, middle, last] = expected.map(Duration::from_millis);
            assert_eq!((min, max), (first, last));
            assert!(median.abs_diff(middle) <= middle / 1000, "{median:?}");
        }
    }

    #[test]
    fn many_round_trips_need_no_more_memory_than_few() {
        let few = times([1, 1000]);
        let many = times((0..100_000).map(|number| 1 + number % 1000));
        assert_eq!(many.count(), 100_000);
        let places = |times: &Times| times.histogram.distinct_values();
        assert_eq!(places(&many), places(&few));
    }
}
