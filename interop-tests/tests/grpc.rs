//! Rust calls and is called over gRPC: by the package agenkit, and by grpcio with its health checks
//! and its reflection.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Stdio},
};

use agentwire::{Error, Message, RemoteAgent, RetryPolicy};
use agentwire_interop_tests::{
    AgentKind, PythonClient, PythonPeer, PythonServer, TempEndpoint, TestResult, Wire, cases,
    expect_that, script_command, within,
};
use futures_util::StreamExt;

/// Defines a test for each case. The case `metadata` is left out, because gRPC carries metadata as
/// text (PROTOCOL 15.3); the cases with raw frames are left out as well.
macro_rules! grpc_cases {
    ($($case:ident)*) => {$(
        #[tokio::test]
        async fn $case() -> TestResult {
            run(stringify!($case)).await
        }
    )*};
}

mod rust_calls_agenkit {
    use super::*;

    grpc_cases! {
        simple_call
        unicode
        structured_content
        null_content
        empty_message
        one_mib_message
        stream_zero
        stream_one
        stream_many
        agent_error
        error_mid_stream
        no_streaming
        sequential_calls
        concurrent_clients
        concurrent_calls
        server_restart
        any_name
        deadline
        dropped_call
        dropped_stream
    }

    async fn run(case: &str) -> TestResult {
        within(async {
            let wire = Wire::JSON_OVER_GRPC;
            let listen = TempEndpoint::new(wire.carrier)?;
            let kind = AgentKind::for_case(case);
            let peer = PythonPeer::Agenkit;
            let mut server = PythonServer::start_on(peer, kind, listen.endpoint()).await?;
            let endpoint = server.endpoint().to_owned();
            let target = wire.target(&endpoint);
            let outcome = match case {
                "server_restart" => cases::server_restart(target, server.restart()).await,
                _ => cases::run(case, target).await,
            };
            outcome.map_err(|failure| server.explain(failure))
        })
        .await
    }
}

mod agenkit_calls_rust {
    use super::*;

    grpc_cases! {
        simple_call
        unicode
        structured_content
        null_content
        empty_message
        one_mib_message
        stream_zero
        stream_one
        stream_many
        agent_error
        error_mid_stream
        no_streaming
        sequential_calls
        concurrent_clients
        server_restart
    }

    async fn run(case: &str) -> TestResult {
        within(async {
            let wire = Wire::JSON_OVER_GRPC;
            let listen = TempEndpoint::new(wire.carrier)?;
            let kind = AgentKind::for_case(case);
            let mut server = kind.serve(listen.endpoint()).await?;
            let endpoint = server.endpoint().to_string();
            let target = wire.target(&endpoint);
            let mut client = PythonClient::start_on(PythonPeer::Agenkit, target, case)?;
            if case == "server_restart" {
                client.wait_for_restart_request().await?;
                server.stop().await;
                server = kind.serve(&endpoint).await?;
                client.confirm_restart().await?;
            }
            client.passes().await?;
            server.stop().await;
            Ok(())
        })
        .await
    }
}

mod rust_calls_rust {
    use super::*;

    grpc_cases! {
        simple_call
        unicode
        structured_content
        null_content
        empty_message
        one_mib_message
        stream_zero
        stream_one
        stream_many
        agent_error
        error_mid_stream
        no_streaming
        sequential_calls
        concurrent_clients
        concurrent_calls
        any_name
        deadline
        dropped_call
        dropped_stream
    }

    async fn run(case: &str) -> TestResult {
        within(async {
            let wire = Wire::JSON_OVER_GRPC;
            let listen = TempEndpoint::new(wire.carrier)?;
            let server = AgentKind::for_case(case).serve(listen.endpoint()).await?;
            let endpoint = server.endpoint().to_string();
            cases::run(case, wire.target(&endpoint)).await?;
            server.stop().await;
            Ok(())
        })
        .await
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
