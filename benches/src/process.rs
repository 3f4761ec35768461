use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tokio::io::AsyncReadExt;

use crate::Failure;

/// Says that a server listens, and waits until the process that started it wants no more of it.
pub(crate) async fn ready_until_stdin_ends() -> Result<(), Failure> {
    writeln!(std::io::stdout(), "READY")?;
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    Ok(())
}

/// This program again, with other arguments, on one CPU if it is named. Killed on drop.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn start(args: &[String], cpu: Option<usize>) -> Result<Self, Failure> {
        let program = std::env::current_exe()?;
        let mut command = match cpu {
            // Before the program starts, so that its runtime sees one CPU, too.
            Some(cpu) => {
                let mut command = Command::new("taskset");
                command.arg("-c").arg(cpu.to_string()).arg(program);
                command
            }
            None => Command::new(program),
        };
        let child = command
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        Ok(Self(child))
    }

    /// The next line of its output.
    pub(crate) fn line(&mut self) -> Result<String, Failure> {
        let stdout = self.0.stdout.as_mut().ok_or("no output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        Ok(line)
    }

    /// The time that it has spent on a CPU.
    pub(crate) fn cpu_time(&self) -> Result<Duration, Failure> {
        cpu_time(self.0.id())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The time that a process has spent on a CPU, its own code and the system's for it.
pub(crate) fn cpu_time(pid: u32) -> Result<Duration, Failure> {
    let mut total = 0;
    // In nanoseconds, for each thread. Those that have ended are left out; none of ours do.
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = std::fs::read_to_string(thread?.path().join("schedstat"))?;
        let nanoseconds = text.split(' ').next().ok_or("an empty schedstat")?;
        total += nanoseconds.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(total))
}
