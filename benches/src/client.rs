use std::time::{Duration, Instant};

use agentwire::Endpoint;
use clap::Args;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Stdin},
    task::JoinSet,
};

use crate::{
    Allocations, Failure,
    counters::cpu_time,
    load::{End, Load, Tally},
    peers::Peer,
    process::say,
    report::Report,
    shape::Shape,
};

#[derive(Args)]
pub(crate) struct DriveArgs {
    peer: Peer,
    endpoint: Endpoint,
    #[command(flatten)]
    shape: Shape,
    /// How long each caller calls, after a fifth of it to warm up
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// How many calls each caller makes, in place of --seconds
    #[arg(long)]
    calls: Option<u64>,
    /// How many calls each caller makes to warm up
    #[arg(long)]
    warm_up_calls: Option<u64>,
    /// Says READY when it is warm, and goes on when it reads a line; stays until standard input ends
    #[arg(long)]
    held: bool,
}

impl DriveArgs {
    pub(crate) fn run(self, allocations: Allocations) -> Result<(), Failure> {
        let runtime = self.peer.runtime()?;
        let (peer, endpoint) = (self.peer, self.endpoint.clone());
        let mut course = Course::new(self, allocations);
        let driven = runtime.block_on(peer.drive(&endpoint, &mut course));
        // The thread that reads standard input would be waited for.
        runtime.shutdown_background();
        driven
    }
}

/// What a client goes through: a warm-up, because what is slow once is not what is measured; then what counts.
pub(crate) struct Course {
    pub(crate) shape: Shape,
    warm_up: End,
    counted: End,
    held: bool,
    stdin: BufReader<Stdin>,
    allocations: Allocations,
    stage: Stage,
}

enum Stage {
    Cold,
    Warm,
    Counted(Before),
}

/// How things stood when what counts began.
struct Before {
    instant: Instant,
    cpu: Duration,
    allocations: Option<u64>,
}

impl Course {
    fn new(args: DriveArgs, allocations: Allocations) -> Self {
        let duration = Duration::from_secs_f64(args.seconds);
        Self {
            shape: args.shape,
            warm_up: args
                .warm_up_calls
                .map_or(End::After(duration / 5), End::Calls),
            counted: args.calls.map_or(End::After(duration), End::Calls),
            held: args.held,
            stdin: BufReader::new(tokio::io::stdin()),
            allocations,
            stage: Stage::Cold,
        }
    }

    /// What the callers are to do next, on the connections that they have; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Load>, Failure> {
        let end = match self.stage {
            Stage::Cold => {
                self.stage = Stage::Warm;
                self.warm_up
            }
            Stage::Warm => {
                if self.held {
                    say("READY")?;
                    self.stdin.read_line(&mut String::new()).await?;
                }
                self.stage = Stage::Counted(Before {
                    allocations: self.allocations.map(|count| count()),
                    cpu: cpu_time(std::process::id())?,
                    instant: Instant::now(),
                });
                self.counted
            }
            Stage::Counted(_) => {
                if self.held {
                    // Until then, the connections stay as they are.
                    self.stdin.read_line(&mut String::new()).await?;
                }
                return Ok(None);
            }
        };
        Ok(Some(Load::new(self.shape, end)))
    }

    /// Waits for callers that have nothing to give back.
    pub(crate) async fn gather(
        &mut self,
        mut callers: JoinSet<Result<Tally, Failure>>,
    ) -> Result<(), Failure> {
        let mut outcomes = Vec::with_capacity(self.shape.callers());
        while let Some(outcome) = callers.join_next().await {
            outcomes.push(outcome?);
        }
        self.report(outcomes)
    }

    /// Ends a stage with what its callers have done. What counts is printed.
    pub(crate) fn report(&self, outcomes: Vec<Result<Tally, Failure>>) -> Result<(), Failure> {
        let Stage::Counted(before) = &self.stage else {
            // A caller that fails here fails for good.
            for outcome in outcomes {
                outcome?;
            }
            return Ok(());
        };
        let elapsed = before.instant.elapsed();
        let mut report = Report::new(elapsed, outcomes)?;
        report.cpu_seconds = (cpu_time(std::process::id())? - before.cpu).as_secs_f64();
        report.allocations = match (self.allocations, before.allocations) {
            (Some(count), Some(before)) => Some(count() - before),
            _ => None,
        };
        say(&serde_json::to_string(&report)?)
    }
}
