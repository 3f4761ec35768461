//! Starting the program and reading its output.

use std::{
    ffi::OsStr,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use agentwire_codec::{Value, json};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit, setrlimit};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStderr, ChildStdout, Command},
};

/// Awaits a future with a time limit that even a heavily loaded machine does not reach.
pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(60), future)
        .await
        .expect("took more than 60 seconds")
}

/// Time limits for what must happen in time at least once: a test repeats its run with the next one
/// if the machine was too slow for the limit.
pub(crate) const GROWING: [&str; 5] = ["1s", "2s", "5s", "15s", "40s"];

/// Returns the signals that stop the program.
///
/// Under `nohup`, a process ignores SIGHUP, and so do its children. This process therefore handles
/// the signal, because the children of a process that handles a signal have its default action.
pub(crate) fn stop_signals() -> [Signal; 4] {
    let handled = tokio::signal::unix::SignalKind::hangup();
    drop(tokio::signal::unix::signal(handled).expect("a handler of SIGHUP"));
    [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT]
}

/// Raises the limit on open files of this process and of the programs that it starts.
pub(crate) fn allow_open_files(count: u64) {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < count) {
        let raised = Rlimit {
            current: Some(count),
            maximum: limit.maximum,
        };
        setrlimit(Resource::Nofile, raised).expect("raise the limit");
    }
}

/// Prepares a run of the program. Dropping the child kills it.
pub(crate) fn program<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agentwire"));
    for variable in ["ENDPOINT", "REGISTRY", "TIMEOUT", "LOG", "TOKEN"] {
        command.env_remove(format!("AGENTWIRE_{variable}"));
    }
    command
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// The exit code and output of a finished run.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Finished {
    fn new(status: ExitStatus, stdout: Vec<u8>, stderr: Vec<u8>) -> Self {
        Self {
            code: status.code().expect("exited, not killed"),
            stdout,
            stderr: String::from_utf8(stderr).expect("errors are UTF-8"),
        }
    }

    /// Returns the standard output of a run that succeeded and left standard error empty.
    #[track_caller]
    pub(crate) fn success(&self) -> &str {
        std::str::from_utf8(self.success_bytes()).expect("the output is UTF-8")
    }

    #[track_caller]
    pub(crate) fn success_bytes(&self) -> &[u8] {
        assert_eq!((self.code, &*self.stderr), (0, ""), "{self:?}");
        &self.stdout
    }

    /// Parses the JSON lines that a successful run printed.
    #[track_caller]
    pub(crate) fn messages(&self) -> Vec<Value> {
        parse_lines(self.success())
    }

    /// Returns the error of a run that failed with this exit code: exactly one line, without the
    /// prefix `agentwire: `.
    #[track_caller]
    pub(crate) fn error(&self, code: i32) -> &str {
        assert_eq!(self.code, code, "{self:?}");
        let line = self.stderr.strip_suffix('\n').expect("a whole line");
        assert!(!line.chars().any(char::is_control), "{self:?}");
        line.strip_prefix("agentwire: ").expect("the prefix")
    }
}

#[track_caller]
pub(crate) fn parse_lines(text: &str) -> Vec<Value> {
    assert!(text.is_empty() || text.ends_with('\n'), "{text:?}");
    text.lines()
        .map(|line| json::from_slice(line.as_bytes()).expect("a line of JSON"))
        .collect()
}

/// Runs the program to its end.
pub(crate) async fn run<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Finished {
    finish(program(args)).await
}

/// Runs the program to its end with `input` on standard input.
pub(crate) async fn run_with_input<S: AsRef<OsStr>>(
    args: impl IntoIterator<Item = S>,
    input: &[u8],
) -> Finished {
    let mut child = program(args).stdin(Stdio::piped()).spawn().expect("start");
    let mut stdin = child.stdin.take().expect("a pipe");
    let feed = async move {
        // The program may exit before it has read everything, for example at a bad frame.
        let _ = stdin.write_all(input).await;
    };
    let (output, ()) = within(async { tokio::join!(child.wait_with_output(), feed) }).await;
    let output = output.expect("wait");
    Finished::new(output.status, output.stdout, output.stderr)
}

pub(crate) async fn finish(mut command: Command) -> Finished {
    let output = within(command.output()).await.expect("run");
    Finished::new(output.status, output.stdout, output.stderr)
}

/// A running program whose output is read line by line.
pub(crate) struct Running {
    child: Child,
    /// `None` once it is closed.
    stdout: Option<Lines<BufReader<ChildStdout>>>,
    stderr: ChildStderr,
}

impl Running {
    pub(crate) fn start<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Self {
        Self::from_child(program(args).spawn().expect("start"))
    }

    /// Starts the program so that no file grows beyond a few KiB. As on a full disk, writes fail.
    pub(crate) fn start_with_small_files<S: AsRef<OsStr>>(
        args: impl IntoIterator<Item = S>,
    ) -> Self {
        let command = program(args);
        let mut shell = Command::new("sh");
        // A write beyond the limit kills a process that does not ignore the signal.
        let script = r#"trap '' XFSZ; ulimit -S -f 8; exec "$0" "$@""#;
        shell
            .args(["-c", script])
            .arg(command.as_std().get_program());
        shell.args(command.as_std().get_args());
        shell
            .env_remove("AGENTWIRE_TOKEN")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        Self::from_child(shell.spawn().expect("start"))
    }

    /// Lets files grow again.
    pub(crate) fn allow_large_files(&self) {
        let unlimited = Rlimit {
            current: None,
            maximum: None,
        };
        prlimit(Some(self.pid()), Resource::Fsize, unlimited).expect("set the limit");
    }

    fn pid(&self) -> Pid {
        let id = i32::try_from(self.id()).ok();
        id.and_then(Pid::from_raw).expect("an id")
    }

    /// Starts a prepared run.
    pub(crate) fn start_command(mut command: Command) -> Self {
        Self::from_child(command.spawn().expect("start"))
    }

    /// Starts the program as process 1 of a PID namespace. Returns `None` if this user may not
    /// create one.
    pub(crate) async fn start_as_process_1<S: AsRef<OsStr>>(
        args: impl IntoIterator<Item = S>,
    ) -> Option<Self> {
        let unshare = |program: &str| {
            let mut command = Command::new("unshare");
            command
                .args(["--pid", "--fork", program])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .kill_on_drop(true);
            command
        };
        let allowed = within(unshare("true").status()).await;
        if !allowed.is_ok_and(|status| status.success()) {
            return None;
        }
        let mut command = unshare(env!("CARGO_BIN_EXE_agentwire"));
        Some(Self::from_child(command.args(args).spawn().expect("start")))
    }

    fn from_child(mut child: Child) -> Self {
        let stdout = child.stdout.take().expect("a pipe");
        let stderr = child.stderr.take().expect("a pipe");
        Self {
            child,
            stdout: Some(BufReader::new(stdout).lines()),
            stderr,
        }
    }

    /// Closes the reading end of standard output.
    pub(crate) fn close_stdout(&mut self) {
        self.stdout = None;
    }

    /// Sends a signal to the only child of the program.
    pub(crate) fn send_to_child(&self, signal: Signal) {
        let id = self.id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
        let child = children.expect("children").trim().parse().ok();
        let child = child.and_then(Pid::from_raw).expect("one child");
        kill_process(child, signal).expect("send a signal");
    }

    pub(crate) async fn line(&mut self) -> String {
        let stdout = self.stdout.as_mut().expect("not closed");
        let line = within(stdout.next_line()).await.expect("read");
        line.expect("a line before the end")
    }

    /// Reads the next line of standard error.
    pub(crate) async fn error_line(&mut self) -> String {
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            line.push(within(self.stderr.read_u8()).await.expect("read"));
        }
        String::from_utf8(line).expect("errors are UTF-8")
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id().expect("still running")
    }

    pub(crate) fn send(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("send a signal");
    }

    /// Waits for the program to exit. Returns the output that was not read before.
    pub(crate) async fn end(mut self) -> Finished {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let rest = async {
            if let Some(rest) = self.stdout {
                rest.into_inner()
                    .read_to_end(&mut stdout)
                    .await
                    .expect("read");
            }
        };
        let ended = within(async {
            tokio::join!(
                rest,
                self.stderr.read_to_end(&mut stderr),
                self.child.wait()
            )
        });
        let status = ended.await.2.expect("wait");
        Finished::new(status, stdout, stderr)
    }

    /// Waits for the program to exit while the pipe of standard error is open and not read. Returns
    /// the exit code.
    pub(crate) async fn end_with_log_unread(mut self) -> i32 {
        let status = within(self.child.wait()).await.expect("wait");
        status.code().expect("exited, not killed")
    }

    /// Waits for a program that was killed.
    pub(crate) async fn end_killed(mut self) {
        within(self.child.wait()).await.expect("wait");
    }

    /// Closes the reading end of standard output and waits for the program to exit.
    pub(crate) async fn end_unread(mut self) -> Finished {
        drop(self.stdout);
        let mut stderr = Vec::new();
        let ended =
            within(async { tokio::join!(self.stderr.read_to_end(&mut stderr), self.child.wait()) });
        let status = ended.await.1.expect("wait");
        Finished::new(status, Vec::new(), stderr)
    }
}

/// A program that listens on an endpoint.
pub(crate) struct Server {
    pub(crate) running: Running,
    pub(crate) endpoint: String,
}

impl Server {
    /// Starts `agentwire` with these arguments and waits until it listens.
    pub(crate) async fn start<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Self {
        Self::from_running(Running::start(args)).await
    }

    /// Waits until a running program listens.
    pub(crate) async fn from_running(mut running: Running) -> Self {
        let line = running.line().await;
        let endpoint = line.strip_prefix("listening on ").expect("the endpoint");
        Self {
            endpoint: endpoint.to_owned(),
            running,
        }
    }

    /// Serves a built-in agent on a free port.
    pub(crate) async fn agent(agent: &str) -> Self {
        Self::start(["serve", "tcp://127.0.0.1:0", "--agent", agent]).await
    }
}
