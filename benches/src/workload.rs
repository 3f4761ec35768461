//! The stages of a client process: the warm-up and the measurement.

use std::time::{Duration, Instant};

use tokio::{
    io::{AsyncBufReadExt, BufReader, Stdin},
    task::JoinSet,
};

use crate::{
    Allocations, BenchError,
    counters::cpu_time,
    load::{End, Load, Tally},
    process::print_line,
    report::Report,
    shape::Shape,
};

/// The workload of a client process, which consists of a warm-up and the measurement. The warm-up
/// excludes one-time costs from the results.
pub(crate) struct Workload {
    pub(crate) shape: Shape,
    warm_up: End,
    measurement: End,
    held: bool,
    stdin: BufReader<Stdin>,
    allocations: Allocations,
    stage: Stage,
}

enum Stage {
    Cold,
    Warm,
    Measuring(Baseline),
}

/// The state of the process at the start of the measurement.
struct Baseline {
    instant: Instant,
    cpu: Duration,
    allocations: Option<u64>,
}

impl Workload {
    /// Creates a workload. If `held` is true, the process prints READY after the warm-up. The
    /// process then waits for a line before the measurement, and for another line before it
    /// disconnects.
    pub(crate) fn new(
        shape: Shape,
        warm_up: End,
        measurement: End,
        held: bool,
        allocations: Allocations,
    ) -> Self {
        Self {
            shape,
            warm_up,
            measurement,
            held,
            stdin: BufReader::new(tokio::io::stdin()),
            allocations,
            stage: Stage::Cold,
        }
    }

    /// Returns the load for the next stage, or `None` after the last stage.
    pub(crate) async fn next_load(&mut self) -> Result<Option<Load>, BenchError> {
        let end = match self.stage {
            Stage::Cold => {
                self.stage = Stage::Warm;
                self.warm_up
            }
            Stage::Warm => {
                if self.held {
                    print_line("READY")?;
                    self.wait_for_line().await?;
                }
                self.stage = Stage::Measuring(Baseline {
                    allocations: self.allocations.map(|count| count()),
                    cpu: cpu_time(std::process::id())?,
                    instant: Instant::now(),
                });
                self.measurement
            }
            Stage::Measuring(_) => {
                if self.held {
                    // Keep the connections open until a line is received.
                    self.wait_for_line().await?;
                }
                return Ok(None);
            }
        };
        Ok(Some(Load::new(self.shape, end)))
    }

    async fn wait_for_line(&mut self) -> Result<(), BenchError> {
        self.stdin.read_line(&mut String::new()).await?;
        Ok(())
    }

    /// Runs all stages on these connections. In each stage, `call` makes the calls of one
    /// connection in a task, and returns the connection with the outcome.
    pub(crate) async fn run_on<C, F>(
        &mut self,
        mut connections: Vec<C>,
        call: impl Fn(C, Load) -> F,
    ) -> Result<(), BenchError>
    where
        C: Send + 'static,
        F: Future<Output = (C, Result<Tally, BenchError>)> + Send + 'static,
    {
        while let Some(load) = self.next_load().await? {
            let mut callers = JoinSet::new();
            for connection in connections.drain(..) {
                callers.spawn(call(connection, load.clone()));
            }
            let mut outcomes = Vec::with_capacity(callers.len());
            while let Some(caller) = callers.join_next().await {
                let (connection, outcome) = caller?;
                connections.push(connection);
                outcomes.push(outcome);
            }
            self.report(outcomes)?;
        }
        Ok(())
    }

    /// Waits for the callers of a stage and reports their outcomes.
    pub(crate) async fn join(
        &mut self,
        mut callers: JoinSet<Result<Tally, BenchError>>,
    ) -> Result<(), BenchError> {
        let mut outcomes = Vec::with_capacity(self.shape.callers());
        while let Some(outcome) = callers.join_next().await {
            outcomes.push(outcome?);
        }
        self.report(outcomes)
    }

    /// Processes the outcomes of the callers of a stage. After the measurement, prints its report.
    pub(crate) fn report(
        &self,
        outcomes: Vec<Result<Tally, BenchError>>,
    ) -> Result<(), BenchError> {
        let Stage::Measuring(baseline) = &self.stage else {
            // A failure during the warm-up stops the process.
            for outcome in outcomes {
                outcome?;
            }
            return Ok(());
        };
        let elapsed = baseline.instant.elapsed();
        let mut report = Report::new(elapsed, outcomes)?;
        report.cpu_seconds = (cpu_time(std::process::id())? - baseline.cpu).as_secs_f64();
        report.allocations = match (self.allocations, baseline.allocations) {
            (Some(count), Some(before)) => Some(count() - before),
            _ => None,
        };
        print_line(&serde_json::to_string(&report)?)
    }
}
