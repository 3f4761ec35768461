use std::{
    fs,
    io::{IsTerminal, stderr},
    path::PathBuf,
    time::Duration,
};

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::{
    Failure,
    machine::Machine,
    peers::{Carrier, Peer},
    process::{Launch, counting_program, parse_seconds, python},
    report::microseconds,
    sample::{Cell, Metric, Sample, record},
    scenario::Scenario,
    table,
    tracer::Tracer,
    trial::{Trial, lasting, making},
};

#[derive(Args)]
pub(crate) struct CompareArgs {
    /// How long each measurement lasts
    #[arg(long, default_value_t = 1.0, value_parser = parse_seconds)]
    seconds: f64,

    /// How many rounds there are; the table shows medians
    #[arg(long, default_value_t = 5)]
    rounds: usize,

    /// Only these peers
    #[arg(long, value_delimiter = ',')]
    peers: Option<Vec<Peer>>,

    /// Only these carriers
    #[arg(long, value_delimiter = ',')]
    carriers: Option<Vec<Carrier>>,

    /// Where to write all that was measured, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// All that was measured.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Comparison {
    pub(crate) machine: Machine,
    pub(crate) seconds: f64,
    pub(crate) rounds: usize,
    /// What has counted system calls.
    pub(crate) tracer: Option<Tracer>,
    /// What was left out, and why.
    pub(crate) left_out: Vec<String>,
    pub(crate) samples: Vec<Sample>,
}

impl CompareArgs {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let mut lab = Laboratory::new(&self)?;
        for round in 0..self.rounds {
            lab.round = round;
            lab.timed(&Scenario::TIMED, Carrier::Unix);
            lab.timed(&Scenario::TIMED_OVER_TCP, Carrier::Tcp);
            if round == 0 {
                // Noise doesn't touch these.
                lab.counted()?;
            }
        }
        lab.progress_ends();
        let Laboratory {
            comparison,
            failures,
            ..
        } = lab;
        println!("{}\n", comparison.machine.sentence());
        print!("{}", table::markdown(&comparison));
        if let Some(file) = &self.json {
            fs::write(file, serde_json::to_string(&comparison)? + "\n")?;
        }
        match failures {
            0 => Ok(()),
            number => Err(format!("{number} measurements have failed; see above").into()),
        }
    }
}

struct Laboratory {
    peers: Vec<Peer>,
    carriers: Vec<Carrier>,
    round: usize,
    failures: usize,
    comparison: Comparison,
}

impl Laboratory {
    fn new(args: &CompareArgs) -> Result<Self, Failure> {
        let mut left_out = Vec::new();
        let mut peers = Vec::new();
        for peer in args
            .peers
            .as_deref()
            .unwrap_or_else(|| Peer::value_variants())
        {
            if !peer.is_built() {
                left_out.push(format!("{}: built without --features peers", peer.label()));
            } else if *peer == Peer::Python && !python_is_there() {
                left_out.push(format!("{}: no Python", peer.label()));
            } else {
                peers.push(*peer);
            }
        }
        for reason in &left_out {
            eprintln!("left out: {reason}");
        }
        Ok(Self {
            peers,
            carriers: args
                .carriers
                .clone()
                .unwrap_or_else(|| Carrier::value_variants().to_vec()),
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

    /// What takes time. Peers take turns within each scenario, so that what slows the machine slows all of them.
    fn timed(&mut self, scenarios: &[Scenario], carrier: Carrier) {
        for &scenario in scenarios {
            for peer in self.those_who_can(scenario, carrier) {
                self.progress(scenario.label(), peer, carrier);
                match self.time(peer, carrier, scenario) {
                    Ok(metrics) => {
                        for (metric, value) in metrics {
                            self.record(peer, carrier, scenario, metric, value);
                        }
                    }
                    Err(error) => self.failed(peer, scenario.label(), &error),
                }
            }
        }
    }

    fn time(
        &self,
        peer: Peer,
        carrier: Carrier,
        scenario: Scenario,
    ) -> Result<Vec<(Metric, f64)>, Failure> {
        let launch = Launch {
            cpu: scenario.cpu(),
            ..Launch::default()
        };
        let mut trial = Trial::start(peer, carrier, launch)?;
        let duration = Duration::from_secs_f64(self.comparison.seconds);
        let outcome = trial.measure(scenario.shape(), &lasting(duration))?;
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

    /// System calls, allocations and memory, over the carrier that a peer has.
    fn counted(&mut self) -> Result<(), Failure> {
        let tracer = Tracer::usable();
        if tracer.is_none() {
            let why = "neither perf nor strace is installed and may be used";
            self.leave_out(format!("system calls: {why}"));
        }
        self.comparison.tracer = tracer;
        let counts = counting_program()?.is_some();
        if !counts {
            self.leave_out(
                "allocations: build with --bins, so that agentwire-benches-counting is there"
                    .to_owned(),
            );
        }
        for peer in self.peers.clone() {
            let Some(carrier) = self.carrier_of(peer) else {
                continue;
            };
            self.progress("system calls, allocations, memory", peer, carrier);
            let lone = Scenario::Lone;
            if let Some(tracer) = tracer {
                let calls = syscalls(peer, carrier, tracer);
                self.record_counted(peer, carrier, lone, Metric::Syscalls, calls);
            }
            if counts && peer != Peer::Python {
                let blocks = allocations(peer, carrier);
                self.record_counted(peer, carrier, lone, Metric::Allocations, blocks);
            }
            if peer.can(Scenario::Idle, carrier) {
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
        counted: Result<f64, Failure>,
    ) {
        match counted {
            Ok(value) => self.record(peer, carrier, scenario, metric, value),
            Err(error) => self.failed(peer, metric.label(), &error),
        }
    }

    fn those_who_can(&self, scenario: Scenario, carrier: Carrier) -> Vec<Peer> {
        let mut peers = self.peers.clone();
        peers.retain(|peer| self.carriers.contains(&carrier) && peer.can(scenario, carrier));
        peers
    }

    fn carrier_of(&self, peer: Peer) -> Option<Carrier> {
        let mut carriers = self.carriers.iter();
        carriers
            .find(|carrier| peer.can(Scenario::Lone, **carrier))
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
        self.progress_ends();
        eprintln!("left out: {what}");
        self.comparison.left_out.push(what);
    }

    /// The rest is measured all the same.
    fn failed(&mut self, peer: Peer, what: &str, error: &Failure) {
        self.failures += 1;
        self.leave_out(format!("{}, {what}: failed: {error}", peer.label()));
    }

    fn progress_ends(&self) {
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

fn python_is_there() -> bool {
    let version = std::process::Command::new(python())
        .arg("--version")
        .output();
    version.is_ok_and(|output| output.status.success())
}

/// System calls of a lone call: the difference between many and few, so that the beginning and the end of the
/// processes don't count.
fn syscalls(peer: Peer, carrier: Carrier, tracer: Tracer) -> Result<f64, Failure> {
    const CALLS: [u64; 2] = [500, 2500];
    let mut counts = [0; 2];
    for (calls, count) in CALLS.into_iter().zip(&mut counts) {
        let mut trial = Trial::start(peer, carrier, Launch::traced(tracer))?;
        trial.measure(Scenario::Lone.shape(), &making(calls, 10))?;
        *count = trial.finish()?.ok_or("nothing was traced")?;
    }
    Ok((counts[1] as f64 - counts[0] as f64) / (CALLS[1] - CALLS[0]) as f64)
}

/// Allocations of a lone call.
fn allocations(peer: Peer, carrier: Carrier) -> Result<f64, Failure> {
    const CALLS: u64 = 1000;
    let launch = Launch {
        counting: true,
        ..Launch::default()
    };
    let mut trial = Trial::start(peer, carrier, launch)?;
    let outcome = trial.measure(Scenario::Lone.shape(), &making(CALLS, 100))?;
    trial.finish()?;
    let blocks = outcome.allocations.ok_or("nothing was counted")?;
    Ok(blocks as f64 / CALLS as f64)
}

/// What a server's memory grows by for each connection that has made one call. A tenth as many connections are
/// there before, so that what the first of them needs is not counted.
fn memory(peer: Peer, carrier: Carrier) -> Result<f64, Failure> {
    let shape = Scenario::Idle.shape();
    let few = crate::shape::Shape {
        connections: shape.connections / 10,
        ..shape
    };
    let trial = Trial::start(peer, carrier, Launch::default())?;
    let first = trial.hold(few, &making(0, 1))?;
    let before = trial.server.resident_memory()?;
    let second = trial.hold(shape, &making(0, 1))?;
    let after = trial.server.resident_memory()?;
    drop((first, second));
    trial.finish()?;
    Ok((after as f64 - before as f64) / shape.connections as f64)
}
