//! The processes of a measurement and the communication with them.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::{BenchError, counters, peer::Peer, tracer::Tracer};

/// The settings for starting a process of a measurement.
#[derive(Clone, Default)]
pub(crate) struct Launch {
    /// The only CPU on which the process runs. The CPU is set before the program starts, so that
    /// the runtime of the program detects a single CPU.
    pub(crate) cpu: Option<usize>,
    /// The tracer that counts system calls and its output file.
    pub(crate) trace: Option<(Tracer, PathBuf)>,
    /// Whether to use the program with the counting allocator.
    pub(crate) counting: bool,
}

impl Launch {
    /// Creates settings that count system calls. The trial sets the output file.
    pub(crate) fn traced(tracer: Tracer) -> Self {
        Self {
            trace: Some((tracer, PathBuf::new())),
            ..Self::default()
        }
    }

    /// Starts the server or a client of a peer.
    pub(crate) fn start(
        &self,
        verb: Verb,
        peer: Peer,
        args: &[String],
    ) -> Result<Process, BenchError> {
        let mut line: Vec<String> = Vec::new();
        if let Some(cpu) = self.cpu {
            line.extend(["taskset", "-c", &cpu.to_string()].map(str::to_owned));
        }
        if let Some((tracer, output)) = &self.trace {
            line.extend(tracer.command(output));
        }
        line.extend(self.program(verb, peer)?);
        let child = Command::new(&line[0])
            .args(&line[1..])
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", line[0]))?;
        Ok(Process::new(child))
    }

    fn program(&self, verb: Verb, peer: Peer) -> Result<Vec<String>, BenchError> {
        let (verb, peer) = match verb {
            Verb::Serve => ("serve", peer.server()),
            Verb::Drive => ("drive", peer.client()),
        };
        let program = match (peer, self.counting) {
            (peer, _) if peer.is_agenkit() => {
                let script = repository().join("benches/python/echo.py");
                let mut line: Vec<_> = [python(), script, verb.into()].map(display).into();
                if let Some(scheme) = peer.scheme() {
                    line.extend(["--scheme", scheme].map(str::to_owned));
                }
                return Ok(line);
            }
            (_, true) => {
                counting_program()?.ok_or("agentwire-benches-counting has not been built")?
            }
            (_, false) => env::current_exe()?,
        };
        Ok(vec![display(program), verb.to_owned(), peer.name()])
    }
}

/// A command of the programs: a server or a client.
#[derive(Clone, Copy)]
pub(crate) enum Verb {
    Serve,
    Drive,
}

fn display(path: PathBuf) -> String {
    path.display().to_string()
}

/// Returns the path of the program with the counting allocator, which is in the directory of this
/// program. Returns `None` if the program has not been built.
pub(crate) fn counting_program() -> Result<Option<PathBuf>, BenchError> {
    let program = env::current_exe()?.with_file_name("agentwire-benches-counting");
    Ok(program.exists().then_some(program))
}

pub(crate) fn repository() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package)
}

/// Returns the Python interpreter, which is the value of `AGENTWIRE_PYTHON` or `python3`.
pub(crate) fn python() -> PathBuf {
    env::var_os("AGENTWIRE_PYTHON").map_or_else(|| "python3".into(), PathBuf::from)
}

/// A child process that exchanges lines of text with this process. Dropping the value kills the
/// process.
pub(crate) struct Process {
    child: Child,
    lines: Receiver<String>,
    /// The thread that reads standard output until EOF.
    reader: Option<JoinHandle<()>>,
}

impl Process {
    fn new(mut child: Child) -> Self {
        let (sender, lines) = channel();
        let reader = child.stdout.take().map(|stdout| {
            thread::spawn(move || {
                let lines = BufReader::new(stdout).lines();
                // The iteration stops at EOF or when the receiver is dropped.
                let _ = lines
                    .map_while(Result::ok)
                    .try_for_each(|line| sender.send(line));
            })
        });
        Self {
            child,
            lines,
            reader,
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns the next line that the process prints. Waits for at most a minute.
    pub(crate) fn line(&mut self) -> Result<String, BenchError> {
        self.lines
            .recv_timeout(RESPONSE_TIMEOUT)
            .map_err(|error| match error {
                RecvTimeoutError::Timeout => "the process has printed nothing for a minute".into(),
                RecvTimeoutError::Disconnected => {
                    "the process has exited; its messages are above".into()
                }
            })
    }

    pub(crate) fn send_line(&mut self, line: &str) -> Result<(), BenchError> {
        let stdin = self
            .child
            .stdin
            .as_mut()
            .ok_or("standard input of the process is closed")?;
        Ok(writeln!(stdin, "{line}")?)
    }

    /// Closes standard input, which makes the process exit, and waits until the process has exited.
    pub(crate) fn finish(mut self) -> Result<(), BenchError> {
        drop(self.child.stdin.take());
        let deadline = Instant::now() + RESPONSE_TIMEOUT;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                return Err("the process does not exit".into());
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    pub(crate) fn cpu_time(&self) -> Result<Duration, BenchError> {
        counters::cpu_time(self.id())
    }

    pub(crate) fn resident_memory(&self) -> Result<u64, BenchError> {
        counters::resident_memory(self.id())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A traced program is not killed with its tracer, but it exits when its standard input is
        // closed.
        drop(self.child.stdin.take());
        // Killing the process fails if it has already exited, so ignore the error.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

/// Prints a line, which the parent process reads.
pub(crate) fn print_line(line: &str) -> Result<(), BenchError> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}")?;
    Ok(stdout.flush()?)
}

/// Parses the duration of a measurement, in seconds.
pub(crate) fn parse_seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds")?;
    if (0.001..=MAX_SECONDS).contains(&seconds) {
        Ok(seconds)
    } else {
        Err(format!("must be between 0.001 and {MAX_SECONDS} seconds"))
    }
}

/// The maximum time until a process prints its next line or exits.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);

/// The maximum duration of a measurement, so that the warm-up and the report fit into
/// `RESPONSE_TIMEOUT` too.
const MAX_SECONDS: f64 = 40.0;
