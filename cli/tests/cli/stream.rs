//! The command `stream`.

use std::{
    fs::File,
    io::Read,
    os::fd::OwnedFd,
    path::PathBuf,
    process::{Output, Stdio},
};

use agentwire::{LocalAgent, progress::Progress, stream_fn};
use agentwire_codec::{Body, Map, Message, Request, Value, WireError};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use tokio::process::Command;

use crate::{
    peer::Peer,
    program::{GROWING, Running, Server, parse_lines, program, run, within},
};

#[tokio::test]
async fn count_5_prints_five_numbered_lines() {
    let server = Server::agent("count:5").await;
    let chunks = run(["stream", &server.endpoint, "--text", "tick"])
        .await
        .messages();
    assert_eq!(chunks.len(), 5);
    for (i, chunk) in chunks.iter().enumerate() {
        assert_eq!(chunk.get("role"), Some(&Value::from("agent")));
        assert_eq!(
            chunk.get("content"),
            Some(&Value::from(format!("tick #{i}")))
        );
        assert_eq!(chunk.get("metadata"), Some(&Map::from([("i", i)]).into()));
    }
}

#[tokio::test]
async fn count_0_prints_nothing() {
    let server = Server::agent("count:0").await;
    assert_eq!(
        run(["stream", &server.endpoint, "--text", "x"])
            .await
            .success(),
        ""
    );
}

#[tokio::test]
async fn echo_and_slow_stream_one_chunk() {
    for agent in ["echo", "slow:1"] {
        let server = Server::agent(agent).await;
        let chunks = run(["stream", &server.endpoint, "--content", "[7]"])
            .await
            .messages();
        assert_eq!(chunks.len(), 1, "{agent}");
        assert_eq!(chunks[0].get("content"), Some(&vec![Value::from(7)].into()));
    }
}

#[tokio::test]
async fn a_stream_that_fails_at_once_exits_with_1() {
    let server = Server::agent("fail").await;
    let outcome = run(["stream", &server.endpoint, "--text", "x"]).await;
    outcome.error(1);
    assert!(outcome.stdout.is_empty());
}

#[tokio::test]
async fn every_chunk_is_printed_as_it_arrives() {
    let peer = Peer::listen().await;
    let mut client = Running::start(["stream", &peer.endpoint(), "--text", "x"]);
    let (mut wire, id, request) = peer.request().await;
    assert!(matches!(request, Request::Stream(_)), "{request:?}");
    for i in 0..3 {
        let chunk = Message::agent(i);
        wire.send(&id, Body::StreamChunk(chunk.clone())).await;
        // The next chunk is sent only after this one was printed.
        assert_eq!(client.line().await, chunk.to_string());
    }
    wire.send(&id, Body::StreamEnd).await;
    assert_eq!(client.end().await.success(), "");
}

#[tokio::test]
async fn chunks_before_an_error_are_printed() {
    let endings: [(Option<&str>, i32); 3] = [
        (
            Some(
                r#"{"version": "1.0", "type": "error", "id": "ID", "payload": {"error_code": "QUOTA", "error_message": "no more"}}"#,
            ),
            1,
        ),
        (None, 3),
        (Some("garbage"), 5),
    ];
    for (ending, code) in endings {
        let peer = Peer::listen().await;
        let client = Running::start(["stream", &peer.endpoint(), "--text", "x"]);
        let (mut wire, id, _) = peer.request().await;
        for i in 0..2 {
            wire.send(&id, Body::StreamChunk(Message::agent(i))).await;
        }
        if let Some(payload) = ending {
            wire.send_payload(&payload.replace("ID", &id.to_string()))
                .await;
        }
        drop(wire);
        let outcome = client.end().await;
        outcome.error(code);
        let chunks = parse_lines(&String::from_utf8_lossy(&outcome.stdout));
        let contents: Vec<_> = chunks
            .iter()
            .map(|chunk| chunk.get("content").cloned())
            .collect();
        assert_eq!(
            contents,
            [Some(Value::from(0)), Some(Value::from(1))],
            "{code}"
        );
    }
}

#[tokio::test]
async fn a_stream_that_stalls_exits_with_4() {
    let chunk = Message::agent("only");
    for limit in GROWING {
        let peer = Peer::listen().await;
        let endpoint = peer.endpoint();
        let stream = run(["stream", &endpoint, "--text", "x", "--timeout", limit]);
        let answer = async {
            let (mut wire, id, _) = peer.request().await;
            wire.send(&id, Body::StreamChunk(chunk.clone())).await;
            wire
        };
        let (outcome, _wire) = tokio::join!(stream, answer);
        outcome.error(4);
        if outcome.stdout == format!("{chunk}\n").into_bytes() {
            return;
        }
        assert!(outcome.stdout.is_empty(), "{outcome:?}");
    }
    panic!("no chunk arrived in time");
}

#[tokio::test]
async fn a_reader_that_closes_early_ends_the_stream_without_an_error() {
    let server = Server::agent("count:1000000").await;
    let mut client = Running::start(["stream", &server.endpoint, "--text", "x"]);
    client.line().await;
    assert_eq!(client.end_unread().await.success(), "");
}

#[tokio::test]
async fn an_agent_that_cannot_stream_returns_an_error() {
    let peer = Peer::listen().await;
    let client = Running::start(["stream", &peer.endpoint(), "--text", "x"]);
    let (mut wire, id, _) = peer.request().await;
    let text = "weather does not support streaming";
    wire.send(&id, WireError::new("INTERNAL_ERROR", text)).await;
    assert!(client.end().await.error(1).ends_with(text));
}

#[tokio::test]
async fn a_stream_ends_with_the_reader_of_its_output() {
    let peer = Peer::listen().await;
    let mut stream = Running::start(["stream", &peer.endpoint(), "x"]);
    let (mut wire, id, _) = peer.request().await;
    wire.send(&id, Body::StreamChunk(Message::agent("one")))
        .await;
    assert!(stream.line().await.contains("one"));
    // No chunk follows that the program could fail to print.
    stream.end_unread().await.success();
}

#[tokio::test]
async fn progress_is_a_bar_on_a_terminal_and_a_plain_chunk_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let endpoint = format!("unix://{}", folder.path().join("p.sock").display());
    let agent = stream_fn("p", |_: Message| {
        futures_util::stream::iter([
            Ok(Progress::started().into()),
            Ok(Progress::processing(1, 2)
                .with_message("half\x1b[2J")
                .into()),
            Ok(Progress::complete().attach(Message::agent("done"))),
        ])
    });
    let _server = LocalAgent::serve(agent, &*endpoint).await.unwrap();
    let bar = "\r\x1b[Kstarted\r\x1b[K[############            ]  50 % 1/2 half\\u{1b}[2J\r\x1b[K";

    let chunks = run(["stream", &endpoint, "--raw", "x"]).await;
    assert_eq!(chunks.success(), "\nhalf\x1b[2J\ndone\n");

    // A program reads standard output, and a person reads standard error.
    let terminal = Terminal::open();
    let mut command = program(["stream", &endpoint, "--raw", "x"]);
    command.env("TERM", "xterm").stderr(terminal.stdio());
    let output = end(command).await;
    assert_eq!(output.stdout, b"\nhalf\x1b[2J\ndone\n");
    let shown = terminal.read().await;
    assert!(shown.starts_with("\r\x1b[Kstarted"), "{shown:?}");
    assert!(shown.contains("50 % 1/2"), "{shown:?}");

    // A person reads both.
    let terminal = Terminal::open();
    let mut command = program(["stream", &endpoint, "--raw", "x"]);
    command.env("TERM", "xterm");
    command.stdout(terminal.stdio()).stderr(terminal.stdio());
    assert!(end(command).await.status.success());
    assert_eq!(terminal.read().await, format!("{bar}done\r\n"));
}

/// Runs a program to its end, and closes the files that it was given.
async fn end(mut command: Command) -> Output {
    let child = command.spawn().unwrap();
    drop(command);
    within(child.wait_with_output()).await.unwrap()
}

/// A terminal whose output the test reads.
struct Terminal {
    controller: OwnedFd,
    path: PathBuf,
}

impl Terminal {
    fn open() -> Self {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        let path = ptsname(&controller, Vec::new()).unwrap();
        let path = PathBuf::from(path.into_string().unwrap());
        Self { controller, path }
    }

    fn stdio(&self) -> Stdio {
        let file = File::options().read(true).write(true).open(&self.path);
        file.unwrap().into()
    }

    /// Reads everything that was written before the last program closed the terminal.
    async fn read(self) -> String {
        let read = move || {
            let mut output = Vec::new();
            // Linux reports an error at the end, after all output has been read.
            let _ = File::from(self.controller).read_to_end(&mut output);
            String::from_utf8(output).unwrap()
        };
        within(tokio::task::spawn_blocking(read)).await.unwrap()
    }
}
