//! One trace through three programs: `agentwire call`, an agent of agenkit with its tracing
//! middleware, and `agentwire serve`. Each program exports its spans to the collector of the test.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Stdio},
};

use agentwire_interop_tests::{
    OtlpSink, TestFailure, TestResult, agentwire_command, expect_that, script_command, within,
};
use rustix::process::{Pid, Signal, kill_process};

/// A child process that has printed where it serves. Dropping the value kills the process.
struct Served {
    child: Child,
    endpoint: String,
}

impl Served {
    fn start(mut command: std::process::Command, prefix: &str) -> Result<Self, TestFailure> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        if let Some(stdout) = &mut child.stdout {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let endpoint = line.trim_end().strip_prefix(prefix).map(str::to_owned);
        let endpoint = endpoint
            .ok_or_else(|| TestFailure::new(format!("printed {line:?} instead of {prefix:?}")))?;
        Ok(Self { child, endpoint })
    }

    /// Asks the process to exit, and waits until it has.
    fn end(&mut self) -> TestResult {
        drop(self.child.stdin.take());
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(id) = id {
            kill_process(id, Signal::TERM)?;
        }
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn one_trace(scheme: &'static str) -> TestResult {
    let run = tokio::task::spawn_blocking(move || run(scheme));
    within(async { run.await? }).await
}

fn run(scheme: &str) -> TestResult {
    let sink = OtlpSink::start()?;
    let listen = format!("{scheme}://127.0.0.1:0");
    let mut serve = agentwire_command()?;
    serve.args(["serve", &listen, "--otlp", sink.url()]);
    let mut rust = Served::start(serve, "listening on ")?;
    let relay = script_command("traced.py", &[&listen, &rust.endpoint, sink.url()])?;
    let mut python = Served::start(relay, "READY ")?;

    let mut call = agentwire_command()?;
    call.args(["call", &python.endpoint, "--raw", "hello"]);
    call.env("OTEL_EXPORTER_OTLP_ENDPOINT", sink.url());
    let output = call.output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    expect_that(output.status.success(), || {
        format!("the call failed: {errors}")
    })?;
    let reply = String::from_utf8_lossy(&output.stdout);
    expect_that(reply.trim_end() == "hello", || {
        format!("the reply is {reply:?}")
    })?;
    python.end()?;
    rust.end()?;

    let spans = sink.spans();
    let find = |name: &str| {
        let mut found = spans.iter().filter(|span| span.name == name);
        match (found.next(), found.next()) {
            (Some(span), None) => Ok(span),
            _ => Err(TestFailure::new(format!(
                "not one span {name} in {spans:#?}"
            ))),
        }
    };
    let (client, middle, server) = (
        find("process")?,
        find("agent.relay.process")?,
        find("echo/process")?,
    );
    expect_that(client.parent.is_empty(), || {
        "the call starts the trace".to_owned()
    })?;
    expect_that(middle.parent == client.id, || {
        format!("{middle:?} after {client:?}")
    })?;
    expect_that(server.parent == middle.id, || {
        format!("{server:?} after {middle:?}")
    })?;
    expect_that(spans.iter().all(|span| span.trace == client.trace), || {
        format!("one trace: {spans:#?}")
    })?;
    let system = server.attributes.get("rpc.system").map(String::as_str);
    expect_that(system == Some("agentwire"), || format!("{server:?}"))
}

#[tokio::test]
async fn one_trace_runs_through_rust_python_and_rust_over_tcp() -> TestResult {
    one_trace("tcp").await
}

#[tokio::test]
async fn one_trace_runs_through_rust_python_and_rust_over_websocket() -> TestResult {
    one_trace("ws").await
}

#[tokio::test]
async fn one_trace_runs_through_rust_python_and_rust_over_http() -> TestResult {
    one_trace("http").await
}

#[tokio::test]
async fn one_trace_runs_through_rust_python_and_rust_over_grpc() -> TestResult {
    one_trace("grpc").await
}
