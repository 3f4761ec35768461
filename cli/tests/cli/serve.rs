//! The command `serve`: endpoints, signals and limits.

use std::path::PathBuf;

use agentwire_codec::{Body, Call, Heartbeat, Message, Request, RequestId, Response};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpStream, UnixStream},
};

use crate::{
    peer::Wire,
    program::{Running, Server, allow_open_files, run, stop_signals, within},
};

/// Returns an unused socket path in a temporary directory.
fn socket() -> (TempDir, PathBuf, String) {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("agent.sock");
    let endpoint = format!("unix://{}", path.display());
    (directory, path, endpoint)
}

/// Sends a call and returns once the server has read it.
///
/// The server reads envelopes in order and rejects anything but a request at once, so the rejection
/// of the second envelope proves that the first was read.
async fn start_call<S>(wire: &mut Wire<S>) -> RequestId
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let (call, marker) = (RequestId::random(), RequestId::random());
    let request = Request::Process(Call::new("", Message::user("in flight")));
    wire.send(&call, request).await;
    wire.send(&marker, Heartbeat::healthy("x")).await;
    let refusal = wire.receive().await;
    assert_eq!(refusal.id, marker);
    assert!(matches!(refusal.body, Body::Error(_)), "{refusal:?}");
    call
}

#[tokio::test]
async fn the_printed_endpoint_has_the_real_port() {
    let server = Server::agent("echo").await;
    let port = server
        .endpoint
        .strip_prefix("tcp://127.0.0.1:")
        .expect("the host");
    assert_ne!(port.parse::<u16>().expect("a port"), 0);
    run(["call", &server.endpoint, "--text", "x"])
        .await
        .success();
}

#[tokio::test]
async fn each_endpoint_is_printed_in_order_and_all_are_served() {
    let (_directory, _, unix) = socket();
    for command in [&["serve"][..], &["registry", "serve"]] {
        let arguments = [&unix[..], "tcp://127.0.0.1:0"];
        let mut server = Server::start(command.iter().chain(&arguments)).await;
        assert_eq!(server.endpoint, unix);
        let line = server.running.line().await;
        let second = line.strip_prefix("listening on ").expect("the endpoint");
        assert!(second.starts_with("tcp://127.0.0.1:") && !second.ends_with(":0"));
        for endpoint in [&unix, second] {
            run(["ping", endpoint]).await.success();
        }
        server.running.send(Signal::TERM);
        server.running.end().await;
    }
}

#[tokio::test]
async fn a_unix_endpoint_is_printed_unchanged() {
    let (_directory, path, endpoint) = socket();
    let server = Server::start(["serve", &endpoint]).await;
    assert_eq!(server.endpoint, endpoint);
    assert!(path.exists());
}

#[tokio::test]
async fn count_answers_a_plain_call_like_echo() {
    let server = Server::agent("count:3").await;
    let messages = run(["call", &server.endpoint, "--text", "x"])
        .await
        .messages();
    assert_eq!(
        messages[0].get("content").and_then(|text| text.as_str()),
        Some("x")
    );
}

#[tokio::test]
async fn every_signal_leaves_neither_socket_nor_registration_behind() {
    let registry = Server::start(["registry", "serve", "tcp://127.0.0.1:0"]).await;
    let url = &registry.endpoint;
    for signal in stop_signals() {
        let (_directory, path, endpoint) = socket();
        let mut server = Server::start(["serve", &endpoint, "--registry", url]).await;
        assert!(server.running.line().await.starts_with("registered "));
        server.running.send(signal);
        assert_eq!(server.running.end().await.success(), "");
        assert!(!path.exists());
        assert_eq!(run(["registry", "list", url]).await.success(), "");

        let proxy = Server::start(["proxy", &endpoint, url]).await;
        proxy.running.send(signal);
        assert_eq!(proxy.running.end().await.success(), "");
        assert!(!path.exists());
    }
}

/// `nohup` starts a program with hangups ignored.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_server_under_nohup_survives_a_hangup() {
    let mut shell = tokio::process::Command::new("sh");
    let script = r#"trap '' HUP; exec "$0" serve tcp://127.0.0.1:0"#;
    shell.args(["-c", script, env!("CARGO_BIN_EXE_agentwire")]);
    shell
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .kill_on_drop(true);
    let server = Server::from_running(Running::start_command(shell)).await;
    server.running.send(Signal::HUP);
    run(["call", &server.endpoint, "x"]).await.success();
    server.running.send(Signal::TERM);
    assert_eq!(server.running.end().await.success(), "");
}

#[tokio::test]
async fn sigterm_finishes_the_call_in_flight_and_removes_the_socket() {
    let (_directory, path, endpoint) = socket();
    let server = Server::start(["serve", &endpoint, "--agent", "slow:1000"]).await;
    let stream = within(UnixStream::connect(&path)).await.expect("connect");
    let mut wire = Wire::new(stream);
    let call = start_call(&mut wire).await;
    server.running.send(Signal::TERM);

    let answer = wire.receive().await;
    assert_eq!(answer.id, call);
    let Body::Response(Response::Message(message)) = answer.body else {
        panic!("{answer:?}");
    };
    assert_eq!(message.text(), Some("in flight"));
    drop(wire);
    assert_eq!(server.running.end().await.success(), "");
    assert!(!path.exists());
    run(["call", &endpoint, "--text", "late"]).await.error(3);
}

/// Returns the resident memory of a process, in bytes.
#[cfg(target_os = "linux")]
fn resident(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .expect("its memory");
    let kib = line.trim().strip_suffix(" kB").expect("in KiB");
    kib.trim().parse::<usize>().expect("a number") * 1024
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_thousand_frame_headers_use_little_memory() {
    allow_open_files(1_500);
    let (_directory, path, endpoint) = socket();
    let server = Server::start(["serve", &endpoint]).await;
    run(["call", &endpoint, "--text", "warm"]).await.success();
    let before = resident(server.running.id());
    let mut silent = Vec::new();
    for _ in 0..1000 {
        let mut stream = within(UnixStream::connect(&path)).await.expect("connect");
        let header = (10 * 1024 * 1024_u32).to_be_bytes();
        within(stream.write_all(&header)).await.expect("send");
        silent.push(stream);
    }
    // Other callers are served meanwhile. Connections are accepted in order, so once these calls
    // are answered, the server has accepted all of the silent ones.
    for _ in 0..3 {
        run(["call", &endpoint, "--text", "still served"])
            .await
            .success();
    }
    let grown = resident(server.running.id()).saturating_sub(before);
    assert!(grown < 16 * 1024 * 1024, "{grown} bytes");
}

#[tokio::test]
async fn a_second_signal_aborts_the_calls_in_flight() {
    let server = Server::agent("slow:600000").await;
    let mut wire = Wire::<TcpStream>::connect(&server.endpoint).await;
    start_call(&mut wire).await;
    // The kernel may merge two pending signals of the same kind.
    server.running.send(Signal::TERM);
    server.running.send(Signal::INT);
    assert_eq!(server.running.end().await.success(), "");
}

#[tokio::test]
async fn an_endpoint_in_use_exits_with_3() {
    let (directory, path, taken) = socket();
    let server = Server::start(["serve", &taken]).await;
    let file = directory.path().join("file");
    std::fs::write(&file, "precious").expect("write");

    let tcp = Server::agent("echo").await;
    for endpoint in [&taken, &format!("unix://{}", file.display()), &tcp.endpoint] {
        let outcome = run(["serve", endpoint]).await;
        assert!(outcome.error(3).contains("cannot listen"), "{outcome:?}");
        assert!(outcome.stdout.is_empty());
    }
    assert_eq!(std::fs::read(&file).expect("read"), b"precious");
    assert!(path.exists());
    run(["call", &server.endpoint, "--text", "still there"])
        .await
        .success();
}

#[tokio::test]
async fn max_connections_limits_the_open_connections() {
    let server = Server::start(["serve", "tcp://127.0.0.1:0", "--max-connections", "1"]).await;
    let address = server.endpoint.strip_prefix("tcp://").expect("TCP");
    let first = TcpStream::connect(address).await.expect("a connection");
    let call = ["call", &server.endpoint, "--text", "x"];
    // The call replaces the idle connection.
    assert!(run(call).await.success().contains("\"x\""));
    drop(first);
    for option in ["--max-connections", "--max-connections-per-peer"] {
        let none = run(["serve", "tcp://127.0.0.1:0", option, "0"]).await;
        assert!(none.error(2).contains("must be at least 1"), "{none:?}");
    }
}

#[tokio::test]
async fn a_server_outlives_the_reader_of_its_announcements() {
    let registry = Server::start(["registry", "serve", "tcp://127.0.0.1:0"]).await;
    let server = Server::start([
        "serve",
        "tcp://127.0.0.1:0",
        "--registry",
        &registry.endpoint,
    ])
    .await;
    let (endpoint, mut running) = (server.endpoint, server.running);
    // The next announcement cannot be written: the agent is registered.
    running.close_stdout();
    let find = ["registry", "lookup", &registry.endpoint, "echo"];
    while run(find).await.success().is_empty() {}
    run(["call", &endpoint, "--text", "x"]).await.success();
    running.send(Signal::TERM);
    assert_eq!(running.end().await.success(), "");
}

/// Standard error is a pipe that is not read. At the level debug, the calls log far more than the
/// pipe and the queue of the logger hold.
#[tokio::test]
async fn a_log_that_is_not_read_blocks_neither_calls_nor_signals() {
    let mut server = Server::start(["-vv", "serve", "tcp://127.0.0.1:0"]).await;
    let (connections, calls) = (4, 4000);
    let callers = (0..connections).map(|_| async {
        let mut wire = Wire::connect(&server.endpoint).await;
        for _ in 0..calls {
            let id = RequestId::from("x".repeat(200));
            let request = Request::Process(Call::new("", Message::user("x")));
            wire.send(&id, request).await;
            assert!(matches!(wire.receive().await.body, Body::Response(_)));
        }
    });
    futures_util::future::join_all(callers).await;
    // The dropped lines are counted as soon as the log is read again.
    let mut lines = 0;
    while !server.running.error_line().await.contains(" lines dropped") {
        lines += 1;
        assert!(lines < connections * calls, "no line was dropped");
    }
    server.running.send(Signal::TERM);
    assert_eq!(server.running.end().await.code, 0);
}

#[tokio::test]
async fn a_log_that_is_never_read_does_not_keep_the_program_from_its_end() {
    let server = Server::start(["-vv", "serve", "tcp://127.0.0.1:0"]).await;
    let mut wire = Wire::connect(&server.endpoint).await;
    for _ in 0..2000 {
        let id = RequestId::from("x".repeat(200));
        wire.send(&id, Heartbeat::healthy("x")).await;
        wire.receive().await;
    }
    server.running.send(Signal::TERM);
    assert_eq!(server.running.end_with_log_unread().await, 0);
}

/// A request id that forges a log line and changes the color of the terminal.
#[tokio::test]
async fn the_log_shows_texts_of_peers_escaped() {
    let server = Server::start(["-vv", "serve", "tcp://127.0.0.1:0"]).await;
    let mut wire = Wire::connect(&server.endpoint).await;
    let id = RequestId::from("x\n2026-01-01T00:00:00Z ERROR forged \u{1b}[31m");
    wire.send(&id, Heartbeat::healthy("x\u{1b}[31m")).await;
    wire.receive().await;
    server.running.send(Signal::TERM);
    let log = server.running.end().await.stderr;
    assert!(!log.contains('\u{1b}'), "{log}");
    let forged = r"id=x\n2026-01-01T00:00:00Z ERROR forged \u{1b}[31m";
    assert!(log.contains(forged), "{log}");
}

#[tokio::test]
async fn announcements_and_logs_show_endpoints_escaped() {
    let (_directory, _path, endpoint) = socket();
    let server = Server::start(["-vv", "serve", &format!("{endpoint}\n\u{1b}[31m\u{202e}")]).await;
    let escaped = r"agent.sock\n\u{1b}[31m\u{202e}";
    assert!(server.endpoint.ends_with(escaped), "{}", server.endpoint);
    server.running.send(Signal::TERM);
    let log = server.running.end().await.stderr;
    assert!(log.contains(escaped), "{log}");
    assert!(!log.contains('\u{1b}'), "{log}");
}
