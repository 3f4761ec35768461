use std::{
    env,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::{Failure, counters, peers::Peer, tracer::Tracer};

/// Says a line to the process that started this one.
pub(crate) fn say(line: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}")?;
    Ok(stdout.flush()?)
}

/// A program to measure with, and how to run it.
#[derive(Clone, Default)]
pub(crate) struct Launch {
    /// On this CPU only, from the first instant, so that its runtime sees one CPU, too.
    pub(crate) cpu: Option<usize>,
    /// With its system calls counted, into this file.
    pub(crate) trace: Option<(Tracer, PathBuf)>,
    /// With an allocator that counts.
    pub(crate) counting: bool,
}

impl Launch {
    /// `serve`, or `drive`, with the arguments of it.
    pub(crate) fn start(
        &self,
        verb: &str,
        peer: Peer,
        args: &[String],
    ) -> Result<Process, Failure> {
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
            .map_err(|error| format!("{} cannot be started: {error}", line[0]))?;
        Ok(Process::new(child))
    }

    fn program(&self, verb: &str, peer: Peer) -> Result<Vec<String>, Failure> {
        let program = match (peer, self.counting) {
            (Peer::Python, _) => {
                let script = repository().join("benches/python/echo.py");
                return Ok([python(), script, verb.into()].map(shown).into());
            }
            (_, true) => counting_program()?.ok_or("the counting program has not been built")?,
            (_, false) => env::current_exe()?,
        };
        Ok(vec![shown(program), verb.to_owned(), peer.name()])
    }
}

fn shown(path: PathBuf) -> String {
    path.display().to_string()
}

/// The program beside this one whose allocator counts, if it has been built.
pub(crate) fn counting_program() -> Result<Option<PathBuf>, Failure> {
    let program = env::current_exe()?.with_file_name("agentwire-benches-counting");
    Ok(program.exists().then_some(program))
}

pub(crate) fn repository() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package)
}

/// `AGENTWIRE_PYTHON`, or any.
pub(crate) fn python() -> PathBuf {
    env::var_os("AGENTWIRE_PYTHON").map_or_else(|| "python3".into(), PathBuf::from)
}

/// A process that says lines and is told some. Killed on drop.
pub(crate) struct Process {
    child: Child,
    lines: Receiver<String>,
    /// Ends with the process's output.
    reader: Option<JoinHandle<()>>,
}

/// How long a process may take to say what it is to say.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a measurement may last, for there to be time left to warm up and to report.
const LONGEST_MEASUREMENT: f64 = 40.0;

/// Reads how many seconds a measurement lasts.
pub(crate) fn parse_seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "a number of seconds is needed")?;
    if (0.001..=LONGEST_MEASUREMENT).contains(&seconds) {
        Ok(seconds)
    } else {
        Err(format!("from 0.001 to {LONGEST_MEASUREMENT} seconds"))
    }
}

impl Process {
    fn new(mut child: Child) -> Self {
        let (sender, lines) = channel();
        let reader = child.stdout.take().map(|stdout| {
            thread::spawn(move || {
                let lines = BufReader::new(stdout).lines();
                // Whoever would read has gone, or there is no more to read.
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

    /// The next line that it says, within a minute.
    pub(crate) fn line(&mut self) -> Result<String, Failure> {
        self.lines
            .recv_timeout(PATIENCE)
            .map_err(|error| match error {
                RecvTimeoutError::Timeout => "it says nothing for a minute".into(),
                RecvTimeoutError::Disconnected => "it has ended; what it says is above".into(),
            })
    }

    pub(crate) fn tell(&mut self, line: &str) -> Result<(), Failure> {
        let stdin = self.child.stdin.as_mut().ok_or("it listens no more")?;
        Ok(writeln!(stdin, "{line}")?)
    }

    /// Ends its input, which it takes as the order to end, and waits until it has.
    pub(crate) fn finish(mut self) -> Result<(), Failure> {
        drop(self.child.stdin.take());
        let late = Instant::now() + PATIENCE;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > late {
                return Err("it does not end".into());
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    pub(crate) fn cpu_time(&self) -> Result<Duration, Failure> {
        counters::cpu_time(self.id())
    }

    pub(crate) fn resident_memory(&self) -> Result<u64, Failure> {
        counters::resident_memory(self.id())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // What a tracer has started outlives it, and ends with its input.
        drop(self.child.stdin.take());
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}
