use std::{fs, path::PathBuf, time::Duration};

use tempfile::TempDir;

use crate::{
    Failure,
    peers::{Carrier, Peer},
    process::{Launch, Process},
    report::Report,
    shape::Shape,
    tracer::Tracer,
};

/// One server process, for as many client processes as are started against it.
pub(crate) struct Trial {
    peer: Peer,
    launch: Launch,
    pub(crate) server: Process,
    endpoint: String,
    /// Of the socket, and of what is traced.
    directory: TempDir,
}

/// A client that is ready to measure.
pub(crate) struct Held(Process);

/// What one client has measured, with what the server has spent meanwhile.
pub(crate) struct Outcome {
    pub(crate) report: Report,
    /// CPU time of both.
    pub(crate) cpu_seconds: f64,
    /// Allocations of both, if both count.
    pub(crate) allocations: Option<u64>,
}

impl Trial {
    pub(crate) fn start(peer: Peer, carrier: Carrier, launch: Launch) -> Result<Self, Failure> {
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
        let mut server = traced.start("serve", peer, &[endpoint])?;
        let line = server.line()?;
        let endpoint = line
            .strip_prefix("READY ")
            .ok_or_else(|| format!("the server says {line:?}"))?
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

    /// A client with its connections, after its warm-up.
    pub(crate) fn hold(&self, shape: Shape, more: &[String]) -> Result<Held, Failure> {
        let mut args = vec![self.endpoint.clone(), "--held".to_owned()];
        args.extend(shape.args());
        args.extend_from_slice(more);
        let mut client = self.launch.start("drive", self.peer, &args)?;
        match client.line()?.as_str() {
            "READY" => Ok(Held(client)),
            line => Err(format!("the client says {line:?}").into()),
        }
    }

    /// One client that calls, and then goes.
    pub(crate) fn measure(&mut self, shape: Shape, more: &[String]) -> Result<Outcome, Failure> {
        let mut client = self.hold(shape, more)?;
        let (cpu, allocations) = (self.server.cpu_time()?, self.allocations()?);
        client.go()?;
        let report = client.report()?;
        let served = self.server.cpu_time()? - cpu;
        let allocated = match (allocations, self.allocations()?, report.allocations) {
            (Some(before), Some(after), Some(client)) => Some(after - before + client),
            _ => None,
        };
        client.finish()?;
        if let Some(failure) = &report.failure {
            return Err(format!("a call has failed: {failure}").into());
        }
        Ok(Outcome {
            cpu_seconds: report.cpu_seconds + served.as_secs_f64(),
            allocations: allocated,
            report,
        })
    }

    /// Of the server, so far, if it counts.
    fn allocations(&mut self) -> Result<Option<u64>, Failure> {
        if !self.launch.counting {
            return Ok(None);
        }
        self.server.tell("allocations")?;
        Ok(serde_json::from_str(&self.server.line()?)?)
    }

    /// Ends the server, and counts the system calls of both if they were traced.
    pub(crate) fn finish(self) -> Result<Option<u64>, Failure> {
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

const SERVER_TRACE: &str = "server.trace";
const CLIENT_TRACE: &str = "client.trace";

impl Launch {
    /// With system calls counted, into files of the trial.
    pub(crate) fn traced(tracer: Tracer) -> Self {
        Self {
            trace: Some((tracer, PathBuf::new())),
            ..Self::default()
        }
    }
}

impl Held {
    pub(crate) fn go(&mut self) -> Result<(), Failure> {
        self.0.tell("go")
    }

    pub(crate) fn report(&mut self) -> Result<Report, Failure> {
        Ok(serde_json::from_str(&self.0.line()?)?)
    }

    pub(crate) fn finish(self) -> Result<(), Failure> {
        self.0.finish()
    }
}

/// The argument for a measurement of so long.
pub(crate) fn lasting(duration: Duration) -> Vec<String> {
    vec!["--seconds".to_owned(), duration.as_secs_f64().to_string()]
}

/// The arguments for so many calls of each caller.
pub(crate) fn making(calls: u64, warm_up: u64) -> Vec<String> {
    vec![
        "--calls".to_owned(),
        calls.to_string(),
        "--warm-up-calls".to_owned(),
        warm_up.to_string(),
    ]
}
