//! A trial, which consists of one server process and its clients.

use std::{fs, time::Duration};

use tempfile::TempDir;

use crate::{
    BenchError,
    peer::{Carrier, Peer},
    process::{Launch, Process, Verb},
    report::Report,
    shape::Shape,
};

/// A server process and the settings for starting its clients.
pub(crate) struct Trial {
    peer: Peer,
    launch: Launch,
    pub(crate) server: Process,
    endpoint: String,
    /// The directory for the socket and the output of tracers.
    directory: TempDir,
}

/// A client process that has completed its warm-up and waits to start the measurement.
pub(crate) struct WarmClient(Process);

/// The report of one client and the resources that both processes used during the measurement.
pub(crate) struct Outcome {
    pub(crate) report: Report,
    /// The CPU time of both processes.
    pub(crate) cpu_seconds: f64,
    /// The number of allocations of both processes, or `None` if they are not counted.
    pub(crate) allocations: Option<u64>,
}

impl Trial {
    pub(crate) fn start(peer: Peer, carrier: Carrier, launch: Launch) -> Result<Self, BenchError> {
        let directory = tempfile::tempdir()?;
        let endpoint = match carrier {
            Carrier::Unix => format!("unix://{}", directory.path().join("s").display()),
            Carrier::Tcp => "tcp://127.0.0.1:0".to_owned(),
        };
        let in_directory = |name| {
            let trace = launch.trace.as_ref();
            trace.map(|(tracer, _)| (*tracer, directory.path().join(name)))
        };
        let traced = Launch {
            trace: in_directory(SERVER_TRACE),
            ..launch.clone()
        };
        let mut server = traced.start(Verb::Serve, peer, &[endpoint])?;
        let line = server.line()?;
        let endpoint = line
            .strip_prefix("READY ")
            .ok_or_else(|| format!("the server printed {line:?} instead of READY"))?
            .to_owned();
        Ok(Self {
            peer,
            launch: Launch {
                trace: in_directory(CLIENT_TRACE),
                ..launch
            },
            server,
            endpoint,
            directory,
        })
    }

    /// Starts a client and waits until it has connected and completed its warm-up.
    pub(crate) fn hold(&self, shape: Shape, more: &[String]) -> Result<WarmClient, BenchError> {
        let mut args = vec![self.endpoint.clone(), "--held".to_owned()];
        args.extend(shape.args());
        args.extend_from_slice(more);
        let mut client = self.launch.start(Verb::Drive, self.peer, &args)?;
        match client.line()?.as_str() {
            "READY" => Ok(WarmClient(client)),
            line => Err(format!("the client printed {line:?} instead of READY").into()),
        }
    }

    /// Runs one client and returns its outcome.
    pub(crate) fn measure(&mut self, shape: Shape, more: &[String]) -> Result<Outcome, BenchError> {
        let mut client = self.hold(shape, more)?;
        let (cpu, allocations) = (self.server.cpu_time()?, self.allocations()?);
        client.start()?;
        let report = client.report()?;
        let served = self.server.cpu_time()? - cpu;
        let allocated = match (allocations, self.allocations()?, report.allocations) {
            (Some(before), Some(after), Some(client)) => Some(after - before + client),
            _ => None,
        };
        client.finish()?;
        if let Some(failure) = &report.failure {
            return Err(format!("a call failed: {failure}").into());
        }
        Ok(Outcome {
            cpu_seconds: report.cpu_seconds + served.as_secs_f64(),
            allocations: allocated,
            report,
        })
    }

    /// Returns the number of allocations of the server, or `None` if they are not counted.
    fn allocations(&mut self) -> Result<Option<u64>, BenchError> {
        if !self.launch.counting {
            return Ok(None);
        }
        self.server.send_line("allocations")?;
        Ok(serde_json::from_str(&self.server.line()?)?)
    }

    /// Stops the server. If the processes were traced, returns the number of system calls of both
    /// processes.
    pub(crate) fn finish(self) -> Result<Option<u64>, BenchError> {
        self.server.finish()?;
        let Some((tracer, _)) = self.launch.trace else {
            return Ok(None);
        };
        let mut calls = 0;
        for name in [SERVER_TRACE, CLIENT_TRACE] {
            calls += tracer.total(&fs::read_to_string(self.directory.path().join(name))?)?;
        }
        Ok(Some(calls))
    }
}

impl WarmClient {
    /// Starts the measurement.
    pub(crate) fn start(&mut self) -> Result<(), BenchError> {
        self.0.send_line("go")
    }

    pub(crate) fn report(&mut self) -> Result<Report, BenchError> {
        Ok(serde_json::from_str(&self.0.line()?)?)
    }

    pub(crate) fn finish(self) -> Result<(), BenchError> {
        self.0.finish()
    }
}

/// Returns the arguments for a measurement with a given duration.
pub(crate) fn duration_args(duration: Duration) -> Vec<String> {
    vec!["--seconds".to_owned(), duration.as_secs_f64().to_string()]
}

/// Returns the arguments for a measurement with a given number of calls per caller.
pub(crate) fn call_args(calls: u64, warm_up: u64) -> Vec<String> {
    vec![
        "--calls".to_owned(),
        calls.to_string(),
        "--warm-up-calls".to_owned(),
        warm_up.to_string(),
    ]
}

const SERVER_TRACE: &str = "server.trace";
const CLIENT_TRACE: &str = "client.trace";
