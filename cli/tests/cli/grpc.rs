//! Each command over gRPC, as a client, a server and a proxy.

use agentwire_codec::value;
use rustix::process::Signal;

use crate::program::{Finished, Server, parse_lines, run};

/// Serves an agent that counts to three, and the tools of the program.
async fn serve(endpoint: &str) -> Server {
    let tools = ["--tool", "add", "--tool", "fail"];
    let serve = ["serve", endpoint, "--agent", "count:3"];
    Server::start(serve.iter().chain(&tools)).await
}

/// Runs each calling command against an endpoint.
async fn commands_work(endpoint: &str) {
    let call = run([
        "call",
        endpoint,
        "--text",
        "42",
        "--metadata",
        r#"{"k": "v"}"#,
    ])
    .await;
    let [message] = &call.messages()[..] else {
        panic!("{call:?}");
    };
    // Metadata is text, and a text that looks like a number stays text.
    assert_eq!(message["content"].kind(), "text", "{call:?}");
    assert_eq!(message["metadata"]["k"], "v", "{call:?}");

    let stream = run(["stream", endpoint, "--content", r#"{"a": [1, "2"]}"#]).await;
    assert_eq!(stream.messages().len(), 3, "{stream:?}");

    let ping = run(["ping", endpoint, "--count", "2"]).await;
    assert!(ping.success().contains('2'), "{ping:?}");

    let described = run(["describe", endpoint, "--json"]).await;
    let [description] = &parse_lines(described.success())[..] else {
        panic!("{described:?}");
    };
    let name = |list: &str, index: usize| description[list][index]["name"].clone();
    assert_eq!(name("tools", 0), "add", "{description}");
    assert_eq!(name("tools", 1), "fail", "{description}");
    assert_eq!(name("agents", 0), "count", "{description}");

    let args = r#"{"a": 1, "b": 2}"#;
    let added = run(["execute", endpoint, "add", "--args", args]).await;
    assert_eq!(added.success(), "3\n");
    run(["execute", endpoint, "fail"]).await.error(1);
    let unknown = run(["execute", endpoint, "knit"]).await;
    assert!(unknown.error(1).contains("TOOL_NOT_FOUND"), "{unknown:?}");

    let bench = run(["bench", endpoint, "-n", "50", "-c", "2", "--json"]).await;
    expect_report(&bench, 50, None);
    let bench = run(["bench", endpoint, "-n", "5", "--stream", "--json"]).await;
    expect_report(&bench, 5, Some(15));
}

fn expect_report(bench: &Finished, calls: u64, chunks: Option<u64>) {
    let [report] = &parse_lines(bench.success())[..] else {
        panic!("{bench:?}");
    };
    assert_eq!(report["calls"].as_u64(), Some(calls), "{report}");
    assert_eq!(report["errors"], value!({}), "{report}");
    if chunks.is_some() {
        assert_eq!(report["chunks"].as_u64(), chunks, "{report}");
    }
}

#[tokio::test]
async fn every_command_calls_a_server_of_grpc() {
    let server = serve("grpc://127.0.0.1:0").await;
    assert!(server.endpoint.starts_with("grpc://127.0.0.1:"));
    commands_work(&server.endpoint).await;
    server.running.send(Signal::TERM);
    server.running.end().await.success();
}

#[tokio::test]
async fn a_proxy_stands_between_grpc_and_the_other_carriers() {
    for (far, near) in [
        ("grpc", "tcp"),
        ("tcp", "grpc"),
        ("grpc", "http"),
        ("http", "grpc"),
        ("ws", "grpc"),
        ("grpc", "grpc"),
    ] {
        let server = serve(&format!("{far}://127.0.0.1:0")).await;
        let listen = format!("{near}://127.0.0.1:0");
        let proxy = Server::start(["proxy", &listen, &server.endpoint]).await;
        assert!(proxy.endpoint.starts_with(near), "{}", proxy.endpoint);
        commands_work(&proxy.endpoint).await;
        proxy.running.send(Signal::TERM);
        proxy.running.end().await.success();
    }
}

#[tokio::test]
async fn errors_over_grpc_have_the_same_exit_codes() {
    let server = Server::start(["serve", "grpc://127.0.0.1:0", "--agent", "slow:60000"]).await;
    let endpoint = server.endpoint.clone();
    let late = run(["call", &endpoint, "x", "--timeout", "100ms"]).await;
    assert_eq!(late.code, 4, "{late:?}");
    drop(server);
    let gone = run(["call", &endpoint, "x"]).await;
    assert_eq!(gone.code, 3, "{gone:?}");
}
