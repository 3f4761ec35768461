//! The `compare` command, which measures all peers in several rounds.

use std::{
    fs,
    io::{IsTerminal, stderr},
    path::PathBuf,
    time::Duration,
};

use clap::{Args, ValueEnum};

use crate::{
    BenchError,
    comparison::Comparison,
    doors::{DOORS, Door},
    machine::Machine,
    peer::{Carrier, Peer},
    process::{Launch, counting_program, parse_seconds, python, repository},
    report::microseconds,
    sample::{Cell, Metric, record},
    scenario::Scenario,
    shape::Shape,
    table,
    tracer::Tracer,
    trial::{Trial, call_args, duration_args},
};

#[derive(Args)]
pub(crate) struct CompareArgs {
    /// The duration of each measurement in seconds
    #[arg(long, default_value_t = 1.0, value_parser = parse_seconds)]
    seconds: f64,

    /// The number of rounds; the tables show medians
    #[arg(long, default_value_t = 5)]
    rounds: usize,

    /// Measure the carriers above TCP and their peers, instead of all other peers
    #[arg(long, conflicts_with_all = ["peers", "carriers"])]
    doors: bool,

    /// Measure only these peers
    #[arg(long, value_delimiter = ',')]
    peers: Option<Vec<Peer>>,

    /// Measure only these carriers
    #[arg(long, value_delimiter = ',')]
    carriers: Option<Vec<Carrier>>,

    /// Write all results to this file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl CompareArgs {
    pub(crate) fn run(self) -> Result<(), BenchError> {
        let mut runner = Runner::new(&self)?;
        for round in 0..self.rounds {
            runner.round = round;
            runner.run_timed(&Scenario::TIMED, Carrier::Unix);
            runner.run_timed(&Scenario::TIMED_OVER_TCP, Carrier::Tcp);
            if round == 0 {
                // Counts do not vary between rounds, so one round is sufficient.
                runner.run_counted()?;
            }
        }
        runner.clear_progress();
        let Runner {
            comparison,
            failures,
            ..
        } = runner;
        println!("{}\n", comparison.machine.sentence());
        print!("{}", table::markdown(&comparison));
        if let Some(file) = &self.json {
            fs::write(file, serde_json::to_string(&comparison)? + "\n")?;
        }
        if failures > 0 {
            return Err(format!("{failures} measurements failed; see above").into());
        }
        Ok(())
    }
}

struct Runner {
    peers: Vec<Peer>,
    carriers: Vec<Carrier>,
    round: usize,
    failures: usize,
    comparison: Comparison,
}

impl Runner {
    fn new(args: &CompareArgs) -> Result<Self, BenchError> {
        let mut left_out = Vec::new();
        let mut peers = Vec::new();
        let peers_of_doors: Vec<Peer> = DOORS.iter().flat_map(Door::peers).collect();
        let is_usual = |peer: &&Peer| **peer == Peer::Tonic || !peers_of_doors.contains(peer);
        let chosen = match &args.peers {
            Some(peers) => peers.clone(),
            None if args.doors => peers_of_doors.clone(),
            None => Peer::value_variants()
                .iter()
                .filter(is_usual)
                .copied()
                .collect(),
        };
        for peer in &chosen {
            if !peer.is_built() {
                left_out.push(format!("{}: built without --features peers", peer.label()));
            } else if peer.needs_agenkit() && !has_agenkit() {
                let why = format!("agenkit {AGENKIT} is not installed");
                left_out.push(format!("{}: {why}", peer.label()));
            } else {
                peers.push(*peer);
            }
        }
        for reason in &left_out {
            eprintln!("not measured: {reason}");
        }
        Ok(Self {
            peers,
            carriers: match &args.carriers {
                Some(carriers) => carriers.clone(),
                None if args.doors => vec![Carrier::Tcp],
                None => Carrier::value_variants().to_vec(),
            },
            round: 0,
            failures: 0,
            comparison: Comparison {
                machine: Machine::this(),
                seconds: args.seconds,
                rounds: args.rounds,
                tracer: None,
                left_out,
                samples: Vec::new(),
            },
        })
    }

    /// Runs one round of timed measurements.
    ///
    /// The peers alternate within each scenario, so that a temporary slowdown of the machine
    /// affects all peers.
    fn run_timed(&mut self, scenarios: &[Scenario], carrier: Carrier) {
        for &scenario in scenarios {
            for peer in self.peers_for(scenario, carrier) {
                self.progress(scenario.label(), peer, carrier);
                match self.time(peer, carrier, scenario) {
                    Ok(metrics) => {
                        for (metric, value) in metrics {
                            self.record(peer, carrier, scenario, metric, value);
                        }
                    }
                    Err(error) => self.record_failure(peer, scenario.label(), &error),
                }
            }
        }
    }

    fn time(
        &self,
        peer: Peer,
        carrier: Carrier,
        scenario: Scenario,
    ) -> Result<Vec<(Metric, f64)>, BenchError> {
        let launch = Launch {
            cpu: scenario.cpu(),
            ..Launch::default()
        };
        let mut trial = Trial::start(peer, carrier, launch)?;
        let duration = Duration::from_secs_f64(self.comparison.seconds);
        let outcome = trial.measure(scenario.shape(), &duration_args(duration))?;
        trial.finish()?;
        let report = &outcome.report;
        if scenario == Scenario::Stream {
            let chunks = report.answers as f64 / report.seconds;
            return Ok(vec![(Metric::ChunksPerSecond, chunks)]);
        }
        let latency = report.histogram()?;
        let calls = report.calls as f64;
        Ok(vec![
            (Metric::CallsPerSecond, calls / report.seconds),
            (Metric::P50, microseconds(&latency, 0.5)),
            (Metric::P99, microseconds(&latency, 0.99)),
            (Metric::P999, microseconds(&latency, 0.999)),
            (Metric::Cpu, outcome.cpu_seconds * 1e6 / calls),
        ])
    }

    /// Measures system calls, allocations and memory of each peer over the first carrier that it
    /// supports.
    fn run_counted(&mut self) -> Result<(), BenchError> {
        let tracer = Tracer::usable();
        if tracer.is_none() {
            let why = "neither perf nor strace can be used";
            self.leave_out(format!("system calls: {why}"));
        }
        self.comparison.tracer = tracer;
        let counts = counting_program()?.is_some();
        if !counts {
            self.leave_out(
                "allocations: build with --bins to get agentwire-benches-counting".to_owned(),
            );
        }
        for peer in self.peers.clone() {
            let Some(carrier) = self.first_carrier(peer) else {
                continue;
            };
            self.progress("system calls, allocations, memory", peer, carrier);
            let lone = Scenario::Lone;
            if let Some(tracer) = tracer {
                let calls = syscalls(peer, carrier, tracer);
                self.record_counted(peer, carrier, lone, Metric::Syscalls, calls);
            }
            if counts && !peer.needs_agenkit() {
                let blocks = allocations(peer, carrier);
                self.record_counted(peer, carrier, lone, Metric::Allocations, blocks);
            }
            if peer.can_run(Scenario::Idle, carrier) {
                let bytes = memory(peer, carrier);
                self.record_counted(peer, carrier, Scenario::Idle, Metric::Memory, bytes);
            }
        }
        Ok(())
    }

    fn record_counted(
        &mut self,
        peer: Peer,
        carrier: Carrier,
        scenario: Scenario,
        metric: Metric,
        counted: Result<f64, BenchError>,
    ) {
        match counted {
            Ok(value) => self.record(peer, carrier, scenario, metric, value),
            Err(error) => self.record_failure(peer, metric.label(), &error),
        }
    }

    fn peers_for(&self, scenario: Scenario, carrier: Carrier) -> Vec<Peer> {
        let mut peers = self.peers.clone();
        peers.retain(|peer| self.carriers.contains(&carrier) && peer.can_run(scenario, carrier));
        peers
    }

    fn first_carrier(&self, peer: Peer) -> Option<Carrier> {
        let mut carriers = self.carriers.iter();
        carriers
            .find(|carrier| peer.can_run(Scenario::Lone, **carrier))
            .copied()
    }

    fn record(
        &mut self,
        peer: Peer,
        carrier: Carrier,
        scenario: Scenario,
        metric: Metric,
        value: f64,
    ) {
        let cell = Cell {
            peer,
            carrier,
            scenario,
            metric,
        };
        record(&mut self.comparison.samples, cell, value);
    }

    fn leave_out(&mut self, what: String) {
        self.clear_progress();
        eprintln!("not measured: {what}");
        self.comparison.left_out.push(what);
    }

    /// Records a failed measurement. The other measurements continue.
    fn record_failure(&mut self, peer: Peer, what: &str, error: &BenchError) {
        self.failures += 1;
        self.leave_out(format!("{}, {what}: failed: {error}", peer.label()));
    }

    fn clear_progress(&self) {
        if stderr().is_terminal() {
            eprint!("\r\x1b[K");
        }
    }

    fn progress(&self, what: &str, peer: Peer, carrier: Carrier) {
        if !stderr().is_terminal() {
            return;
        }
        let (round, rounds) = (self.round + 1, self.comparison.rounds);
        let (peer, carrier) = (peer.label(), carrier.label());
        eprint!("\r\x1b[Kround {round} of {rounds}: {what}, {peer}, {carrier}");
    }
}

/// Returns true if the version of agenkit that the tables name is installed.
fn has_agenkit() -> bool {
    let version = std::process::Command::new(python())
        .arg(repository().join("interop-tests/python/versions.py"))
        .arg("agenkit")
        .output();
    version.is_ok_and(|output| output.stdout.trim_ascii() == AGENKIT.as_bytes())
}

/// Measures the number of system calls per call in the `Lone` scenario.
///
/// The result is computed from the difference between a run with many calls and a run with few
/// calls, which excludes the startup and shutdown of the processes.
fn syscalls(peer: Peer, carrier: Carrier, tracer: Tracer) -> Result<f64, BenchError> {
    const CALLS: [u64; 2] = [500, 2500];
    let mut counts = [0; 2];
    for (calls, count) in CALLS.into_iter().zip(&mut counts) {
        let mut trial = Trial::start(peer, carrier, Launch::traced(tracer))?;
        trial.measure(Scenario::Lone.shape(), &call_args(calls, 10))?;
        *count = trial.finish()?.ok_or("no system calls were traced")?;
    }
    Ok((counts[1] as f64 - counts[0] as f64) / (CALLS[1] - CALLS[0]) as f64)
}

/// Measures the number of allocations per call in the `Lone` scenario.
fn allocations(peer: Peer, carrier: Carrier) -> Result<f64, BenchError> {
    const CALLS: u64 = 1000;
    let launch = Launch {
        counting: true,
        ..Launch::default()
    };
    let mut trial = Trial::start(peer, carrier, launch)?;
    let outcome = trial.measure(Scenario::Lone.shape(), &call_args(CALLS, 100))?;
    trial.finish()?;
    let blocks = outcome.allocations.ok_or("no allocations were counted")?;
    Ok(blocks as f64 / CALLS as f64)
}

/// Measures the server memory per connection after one call on each connection.
///
/// Before the measurement, a tenth as many connections are opened, to exclude the memory that only
/// the first connections need.
fn memory(peer: Peer, carrier: Carrier) -> Result<f64, BenchError> {
    let shape = Scenario::Idle.shape();
    let few = Shape {
        connections: shape.connections / 10,
        ..shape
    };
    let trial = Trial::start(peer, carrier, Launch::default())?;
    let first = trial.hold(few, &call_args(0, 1))?;
    let before = trial.server.resident_memory()?;
    let second = trial.hold(shape, &call_args(0, 1))?;
    let after = trial.server.resident_memory()?;
    drop((first, second));
    trial.finish()?;
    Ok((after as f64 - before as f64) / shape.connections as f64)
}

/// The version of agenkit that is measured. The labels of the peers contain it.
const AGENKIT: &str = "0.92.2";
