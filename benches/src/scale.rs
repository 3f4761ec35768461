//! The `scale` command, which measures how the cost depends on the number of connections.

use std::{fs, path::PathBuf, thread, time::Duration};

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::{
    BenchError,
    machine::Machine,
    peer::{Carrier, Peer},
    process::{Launch, parse_seconds},
    report::{Report, microseconds},
    shape::Shape,
    table::{self, number},
    trial::{Trial, WarmClient, duration_args},
};

#[derive(Args)]
pub(crate) struct ScaleArgs {
    /// The duration of each step in seconds
    #[arg(long, default_value_t = 5.0, value_parser = parse_seconds)]
    seconds: f64,

    /// The numbers of connections to measure, with one call in flight on each connection
    #[arg(long, value_delimiter = ',', default_values_t = [1, 10, 100, 1_000, 10_000])]
    connections: Vec<usize>,

    /// The peers to measure
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "raw-serde-json,agentwire"
    )]
    peers: Vec<Peer>,

    /// Write all results to this file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// The results of `scale`: the cost for each number of connections.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Growth {
    pub(crate) machine: Machine,
    pub(crate) seconds: f64,
    pub(crate) steps: Vec<Step>,
}

/// The results for one number of connections. All connections make calls.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Step {
    pub(crate) peer: Peer,
    pub(crate) connections: usize,
    pub(crate) calls_per_second: f64,
    /// The latencies in microseconds.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// The number of connections that failed.
    pub(crate) errors: u64,
    /// The number of calls on the connection with the fewest calls, and on the connection with the
    /// most calls.
    pub(crate) fewest: u64,
    pub(crate) most: u64,
    /// The server memory per connection in bytes, before the calls and during the calls.
    pub(crate) idle_memory: f64,
    pub(crate) active_memory: f64,
}

impl ScaleArgs {
    pub(crate) fn run(self) -> Result<(), BenchError> {
        let mut growth = Growth {
            machine: Machine::this(),
            seconds: self.seconds,
            steps: Vec::new(),
        };
        for &connections in &self.connections {
            for &peer in &self.peers {
                growth.steps.push(self.step(peer, connections)?);
            }
        }
        println!("{}\n", growth.machine.sentence());
        print!("{}", markdown(&growth));
        if let Some(file) = &self.json {
            fs::write(file, serde_json::to_string_pretty(&growth)? + "\n")?;
        }
        match growth.steps.iter().map(|step| step.errors).sum() {
            0 => Ok(()),
            errors => Err(format!("{errors} connections failed").into()),
        }
    }

    fn step(&self, peer: Peer, connections: usize) -> Result<Step, BenchError> {
        let mut trial = Trial::start(peer, Carrier::Unix, Launch::default())?;
        // The first measurement excludes the memory that the server allocates only for its first
        // connections.
        trial.measure(
            Shape::calls(1, 64),
            &duration_args(Duration::from_millis(100)),
        )?;
        let before = trial.server.resident_memory()?;
        let mut clients = self.hold(&trial, connections)?;
        let idle = trial.server.resident_memory()?;
        for client in &mut clients {
            client.start()?;
        }
        thread::sleep(Duration::from_secs_f64(self.seconds / 2.0));
        let active = trial.server.resident_memory()?;
        let reports: Vec<Report> = clients
            .iter_mut()
            .map(WarmClient::report)
            .collect::<Result<_, _>>()?;
        for client in clients {
            client.finish()?;
        }
        trial.finish()?;
        let memory = |now: u64| (now as f64 - before as f64) / connections as f64;
        for failure in reports.iter().filter_map(|report| report.failure.as_ref()) {
            eprintln!("{}, {connections} connections: {failure}", peer.label());
        }
        let latency = reports.iter().map(Report::histogram);
        let latency = latency.reduce(|all, one| {
            let mut all = all?;
            all.add(one?)?;
            Ok(all)
        });
        let latency = latency.ok_or("no client")??;
        let rate = |report: &Report| report.calls as f64 / report.seconds;
        Ok(Step {
            peer,
            connections,
            calls_per_second: reports.iter().map(rate).sum(),
            p50: microseconds(&latency, 0.5),
            p99: microseconds(&latency, 0.99),
            errors: reports.iter().map(|report| report.failed).sum(),
            fewest: reports
                .iter()
                .map(|report| report.fewest)
                .min()
                .unwrap_or_default(),
            most: reports
                .iter()
                .map(|report| report.most)
                .max()
                .unwrap_or_default(),
            idle_memory: memory(idle),
            active_memory: memory(active),
        })
    }

    /// Starts two clients, or one client for a single connection. Each connection makes one warm-up
    /// call.
    fn hold(&self, trial: &Trial, connections: usize) -> Result<Vec<WarmClient>, BenchError> {
        let mut args = duration_args(Duration::from_secs_f64(self.seconds));
        args.extend(["--warm-up-calls", "1"].map(str::to_owned));
        let half = connections / 2;
        let mut clients = Vec::new();
        for connections in [half, connections - half] {
            if connections > 0 {
                let shape = Shape {
                    separate: true,
                    ..Shape::calls(connections, 1)
                };
                clients.push(trial.hold(shape, &args)?);
            }
        }
        Ok(clients)
    }
}

/// Returns a table with one row for each step.
pub(crate) fn markdown(growth: &Growth) -> String {
    let titles = [
        "peer",
        "calls/s",
        "p50 us",
        "p99 us",
        "errors",
        "fewest calls of a connection",
        "most",
        "server memory of a connection, idle",
        "calling",
    ];
    let mut text = String::new();
    table::push_row(&mut text, "connections", &titles);
    table::push_row(
        &mut text,
        "---:",
        &["---"; 1].iter().chain(&["---:"; 8]).collect::<Vec<_>>(),
    );
    for step in &growth.steps {
        let numbers = [
            step.calls_per_second,
            step.p50,
            step.p99,
            step.errors as f64,
            step.fewest as f64,
            step.most as f64,
            step.idle_memory,
            step.active_memory,
        ];
        let mut cells = vec![step.peer.label().to_owned()];
        cells.extend(numbers.map(number));
        table::push_row(&mut text, &number(step.connections as f64), &cells);
    }
    text
}
