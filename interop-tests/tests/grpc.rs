//! Rust calls and is called over gRPC: by the package agenkit, and by grpcio with its health checks
//! and its reflection.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Stdio},
};

use agentwire::{Error, Message, RemoteAgent, RetryPolicy};
use agentwire_interop_tests::{
    AgentKind, PythonPeer, TempEndpoint, TestResult, Wire, expect_that, python_calls_rust,
    rust_calls_python, rust_calls_rust, script_command, test_cases, within,
};
use futures_util::StreamExt;

// The case `metadata` is left out, because gRPC carries metadata as text (PROTOCOL 15.3); the cases
// with raw frames are left out as well.

mod rust_calls_agenkit {
    use super::*;

    test_cases! {
        over_grpc: rust_calls_python(PythonPeer::Agenkit, Wire::JSON_OVER_GRPC);
        => [text] [values] server_restart [rust]
    }
}

mod agenkit_calls_rust {
    use super::*;

    test_cases! {
        over_grpc: python_calls_rust(PythonPeer::Agenkit, Wire::JSON_OVER_GRPC);
        => [text] [values] server_restart
    }
}

mod rust_calls_itself {
    use super::*;

    test_cases! {
        over_grpc: rust_calls_rust(Wire::JSON_OVER_GRPC);
        => [text] [values] [rust]
    }
}

#[tokio::test]
async fn grpcio_calls_rust_and_finds_its_health_and_its_services() -> TestResult {
    let listen = TempEndpoint::new(Wire::JSON_OVER_GRPC.carrier)?;
    let server = AgentKind::for_case("simple_call")
        .serve(listen.endpoint())
        .await?;
    let endpoint = server.endpoint().to_string();
    let address = endpoint.trim_start_matches("grpc://");
    let mut command = script_command("grpc_client.py", &[address])?;
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    expect_that(out.starts_with("ok 211"), || format!("{out}{err}"))?;
    server.stop().await;
    Ok(())
}

#[tokio::test]
async fn rust_calls_grpcio_and_reads_its_statuses() -> TestResult {
    within(async {
        let server = GrpcioServer::start()?;
        let builder = RemoteAgent::builder(&*server.endpoint).name("echo");
        let remote = builder.retry(RetryPolicy::never()).build()?;
        remote.ping().await?;
        for content in ["hello", "42", "", "caf\u{e9}"] {
            let reply = remote.process(Message::user(content)).await?;
            expect_that(reply.content == content, || format!("{:?}", reply.content))?;
        }
        // grpcio compresses its answers.
        let large = "x".repeat(1_000_000);
        let reply = remote.process(Message::user(&*large)).await?;
        let is_same = reply.content == large;
        expect_that(is_same, || "a large answer differs".to_owned())?;

        let chunks: Vec<_> = remote.stream(Message::user("x")).collect().await;
        let are_all = chunks.len() == 3 && chunks.iter().all(Result::is_ok);
        expect_that(are_all, || format!("{chunks:?}"))?;
        let mut chunks: Vec<_> = remote.stream(Message::user("endless")).collect().await;
        let last = chunks.pop();
        let is_lost = matches!(last, Some(Err(Error::ConnectionClosed { .. })));
        expect_that(is_lost, || format!("{last:?}"))?;

        let dropped = remote.process(Message::user("unavailable")).await;
        let is_lost = dropped.as_ref().is_err_and(|error| {
            matches!(error, Error::ConnectionClosed { .. }) && error.was_sent()
        });
        expect_that(is_lost, || format!("{dropped:?}"))?;
        let refused = remote.process(Message::user("unknown")).await;
        let text = match &refused {
            Err(error) => error.remote().map(|error| &*error.message),
            Ok(_) => None,
        };
        expect_that(text == Some("100 % wrong: \u{e9}"), || {
            format!("{refused:?}")
        })
    })
    .await
}

/// A server of grpcio in a child process, which ends with its standard input.
struct GrpcioServer {
    endpoint: String,
    process: Child,
}

impl GrpcioServer {
    fn start() -> Result<Self, agentwire_interop_tests::TestFailure> {
        let mut command = script_command("grpc_server.py", &[])?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn()?;
        let mut line = String::new();
        if let Some(stdout) = process.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let endpoint = line.trim().trim_start_matches("READY ").to_owned();
        Ok(Self { endpoint, process })
    }
}

impl Drop for GrpcioServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
