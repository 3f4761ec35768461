//! The command `call`, and the exit codes of a client.

use std::{os::fd::OwnedFd, os::unix::net::UnixStream, process::Stdio};

use agentwire_codec::{Format, Heartbeat, Map, Message, Request, Response, Value, WireError};

use crate::{
    peer::{Peer, frame},
    program::{Running, Server, finish, parse_lines, program, run, run_with_input, within},
};

#[tokio::test]
async fn an_echo_comes_back_as_one_line_of_json() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("echo.sock");
    let server = Server::start(["serve", &format!("unix://{}", path.display())]).await;

    let metadata = r#"{"n": 1180591620717411303424, "x": 0.5}"#;
    let outcome = run([
        "call",
        &server.endpoint,
        "--text",
        "h\u{e9}llo",
        "--metadata",
        metadata,
    ])
    .await;
    let line = outcome.success();
    let start = format!(
        r#"{{"role": "agent", "content": "h\u00e9llo", "metadata": {metadata}, "timestamp": ""#
    );
    assert!(line.starts_with(&start), "{line}");
    assert_eq!(line.matches('\n').count(), 1);
}

#[tokio::test]
async fn content_is_json_from_the_command_line_or_standard_input() {
    let server = Server::agent("echo").await;
    for (content, printed) in [
        ("null", "null"),
        ("-1", "-1"),
        ("18446744073709551616", "18446744073709551616"),
        ("-Infinity", r#""-Infinity""#),
        ("[NaN]", r#"["NaN"]"#),
        (
            r#"{"b": [1.0, "x"], "a": {}}"#,
            r#"{"b": [1.0, "x"], "a": {}}"#,
        ),
    ] {
        let given = run(["call", &server.endpoint, "--content", content]).await;
        let read = run_with_input(
            ["call", &server.endpoint, "--content", "-"],
            format!(" {content}\n").as_bytes(),
        )
        .await;
        for outcome in [given, read] {
            let expected = format!(r#""content": {printed}, "#);
            assert!(outcome.success().contains(&expected), "{outcome:?}");
        }
    }
}

#[tokio::test]
async fn text_is_read_from_standard_input_or_a_file() {
    let server = Server::agent("echo").await;
    let directory = tempfile::tempdir().expect("directory");
    let file = directory.path().join("question.txt");
    std::fs::write(&file, "from a file\n").expect("write");
    let file = format!("@{}", file.display());
    for (text, sent) in [
        ("-", "from standard input\n"),
        (&file, "from a file\n"),
        ("@@home", "@home"),
        ("a@b", "a@b"),
        ("--", "--"),
    ] {
        let args = ["call", &server.endpoint, "--text", text];
        let outcome = run_with_input(args, b"from standard input\n").await;
        assert_eq!(outcome.messages()[0]["content"], sent, "{text}");
    }
    let json = directory.path().join("question.json");
    std::fs::write(&json, r#"{"city": "Oslo"}"#).expect("write");
    let json = format!("@{}", json.display());
    let outcome = run(["call", &server.endpoint, "--content", &json]).await;
    assert_eq!(outcome.messages()[0]["content"]["city"], "Oslo");
    let missing = run(["call", &server.endpoint, "--text", "@/no/such/file"]).await;
    assert!(missing.error(2).contains("cannot read \"/no/such/file\""));
    let binary = run_with_input(["call", &server.endpoint, "--text", "-"], b"\xff").await;
    assert!(binary.error(2).contains("standard input is not UTF-8"));
}

#[tokio::test]
async fn text_can_follow_the_endpoint_as_an_argument() {
    let server = Server::agent("echo").await;
    for args in [
        &["call", &server.endpoint, "hello"][..],
        &[
            "call",
            "--timeout",
            "30s",
            &server.endpoint,
            "hello",
            "--raw",
        ],
        &["stream", &server.endpoint, "--raw", "--", "hello"],
    ] {
        assert!(run(args).await.success().contains("hello"), "{args:?}");
    }
    let both = run(["call", &server.endpoint, "hello", "--text", "x"]).await;
    assert!(both.error(2).contains("--text"), "{both:?}");
}

#[tokio::test]
async fn raw_prints_the_content_alone() {
    let server = Server::agent("echo").await;
    for (content, printed) in [
        (r#""h\u00e9llo \"you\"""#, "h\u{e9}llo \"you\"\n"),
        (r#"{"a": [1, NaN]}"#, "{\"a\": [1, \"NaN\"]}\n"),
        ("null", "null\n"),
    ] {
        let outcome = run(["call", &server.endpoint, "--raw", "--content", content]).await;
        assert_eq!(outcome.success(), printed);
    }
    let server = Server::agent("count:2").await;
    let outcome = run(["stream", &server.endpoint, "--raw", "tick"]).await;
    assert_eq!(outcome.success(), "tick #0\ntick #1\n");
}

#[tokio::test]
async fn raw_prints_bytes_as_they_are() {
    let peer = Peer::listen().await;
    let endpoint = peer.endpoint();
    let call = run(["call", &endpoint, "--codec", "msgpack", "--raw", "x"]);
    let answer = async {
        let (mut wire, id, _) = peer.request_in(Format::MessagePack).await;
        let picture = Message::agent(bytes::Bytes::from_static(b"\x89PNG"));
        wire.send(&id, Response::Message(picture)).await;
        wire
    };
    let (outcome, _wire) = tokio::join!(call, answer);
    assert_eq!(outcome.success_bytes(), b"\x89PNG");
}

#[tokio::test]
async fn headers_become_text_in_the_metadata() {
    let server = Server::agent("echo").await;
    let call = [
        "call",
        &server.endpoint,
        "x",
        "--metadata",
        r#"{"a": 1, "b": 2}"#,
    ];
    let headers = ["--header", "b=two=2", "--header", "c="];
    let outcome = run([&call[..], &headers].concat()).await;
    let metadata = r#""metadata": {"a": 1, "b": "two=2", "c": ""}"#;
    assert!(outcome.success().contains(metadata), "{outcome:?}");
    let outcome = run(["call", &server.endpoint, "x", "--header", "=x"]).await;
    assert!(outcome.error(2).contains("KEY=VALUE"), "{outcome:?}");
}

#[tokio::test]
async fn wait_waits_for_a_server_that_is_not_there() {
    let directory = tempfile::tempdir().expect("directory");
    for command in ["call", "stream"] {
        let endpoint = format!("unix://{}", directory.path().join(command).display());
        let waiting = ["-vv", command, &endpoint, "--wait", "10m", "--raw", "hello"];
        let mut call = Running::start(waiting);
        // The server starts only after the first attempt has failed.
        while !call.error_line().await.contains("server is absent") {}
        let _server = Server::start(["serve", &endpoint]).await;
        assert_eq!(call.line().await, "hello");
        assert_eq!(call.end().await.code, 0);
    }
}

#[tokio::test]
async fn wait_ends() {
    let closed = Peer::listen().await.endpoint();
    for endpoint in [&closed, "tcp://no.such.host.invalid:1"] {
        let outcome = run(["call", endpoint, "--wait", "1ms", "x"]).await;
        outcome.error(3);
    }
}

#[tokio::test]
async fn the_environment_holds_defaults() {
    let server = Server::agent("echo").await;
    for args in [&["call", "hi"][..], &["call", "--text", "hi"]] {
        let mut command = program(args);
        command.env("AGENTWIRE_ENDPOINT", &server.endpoint);
        let outcome = finish(command).await;
        assert_eq!(outcome.messages()[0]["content"], "hi");
    }
    let slow = Server::agent("slow:600000").await;
    let mut command = program(["call", &slow.endpoint, "hi"]);
    command.env("AGENTWIRE_TIMEOUT", "10ms");
    // An unused default does not matter.
    command.env("AGENTWIRE_REGISTRY", "nowhere");
    assert!(finish(command).await.error(4).contains("10ms"));
}

#[tokio::test]
async fn bytes_are_printed_as_valid_json() {
    let peer = Peer::listen().await;
    let endpoint = peer.endpoint();
    let call = run(["call", &endpoint, "--codec", "msgpack", "--text", "x"]);
    let answer = async {
        let (mut wire, id, _) = peer.request_in(Format::MessagePack).await;
        let picture = Message::agent(bytes::Bytes::from_static(b"\x89PNG"));
        wire.send(&id, Response::Message(picture)).await;
        wire
    };
    let (outcome, _wire) = tokio::join!(call, answer);
    assert_eq!(outcome.messages()[0]["content"], "iVBORw==");
}

#[tokio::test]
async fn name_and_role_reach_the_agent() {
    let peer = Peer::listen().await;
    let endpoint = peer.endpoint();
    let call = run([
        "call", &endpoint, "--name", "weather", "--role", "system", "--text", "--oslo",
    ]);
    let answer = async {
        let (mut wire, id, request) = peer.request().await;
        let Request::Process(call) = request else {
            panic!("{request:?}");
        };
        let reply = Response::Message(Message::agent(Value::Null));
        wire.send(&id, reply).await;
        (wire, call)
    };
    let (outcome, (_wire, call)) = tokio::join!(call, answer);
    assert_eq!(outcome.messages().len(), 1);
    assert_eq!(call.agent_name, "weather");
    assert_eq!(call.message.role, "system");
    assert_eq!(call.message.text(), Some("--oslo"));
    assert_eq!(call.message.metadata, Map::new());
}

#[tokio::test]
async fn an_error_of_the_agent_exits_with_1() {
    let server = Server::agent("fail").await;
    let outcome = run(["call", &server.endpoint, "--text", "x"]).await;
    assert!(outcome.error(1).contains("INTERNAL_ERROR"), "{outcome:?}");
    assert!(outcome.stdout.is_empty());
}

#[tokio::test]
async fn an_agent_error_with_a_timeout_code_exits_with_1_and_prints_one_line() {
    for code in [
        "AGENT_TIMEOUT",
        "CONNECTION_TIMEOUT",
        "AGENT_NOT_FOUND",
        "MALFORMED_PAYLOAD",
    ] {
        let peer = Peer::listen().await;
        let endpoint = peer.endpoint();
        let answer = async {
            let (mut wire, id, _) = peer.request().await;
            wire.send(
                &id,
                WireError::new(code, "first\r\nsecond \u{1b}[31m\u{2028}third\n"),
            )
            .await;
            wire
        };
        let (outcome, _wire) = tokio::join!(run(["call", &endpoint, "--text", "x"]), answer);
        assert!(
            outcome
                .error(1)
                .contains(r"first\r\nsecond \u{1b}[31m\u{2028}third"),
            "{outcome:?}"
        );
    }
}

#[tokio::test]
async fn a_message_that_cannot_be_encoded_exits_with_2() {
    let server = Server::agent("echo").await;
    let oversize = format!("{:?}", "x".repeat(11 * 1024 * 1024));
    let too_deep = format!("{}{}", "[".repeat(999), "]".repeat(999));
    for content in [oversize, too_deep] {
        let args = ["call", &server.endpoint, "--content", "-"];
        let outcome = run_with_input(args, content.as_bytes()).await;
        outcome.error(2);
    }
}

#[tokio::test]
async fn a_refused_connection_exits_with_3() {
    let directory = tempfile::tempdir().expect("directory");
    let missing = format!("unix://{}", directory.path().join("no.sock").display());
    // The port was free a moment ago.
    let closed = {
        let peer = Peer::listen().await;
        peer.endpoint()
    };
    for endpoint in [missing, closed] {
        for command in ["call", "stream"] {
            let outcome = run([command, &endpoint, "--text", "x"]).await;
            assert!(outcome.error(3).contains(&endpoint), "{outcome:?}");
        }
    }
}

#[tokio::test]
async fn a_connection_that_closes_during_the_call_exits_with_3() {
    for partial_reply in [&b""[..], b"\0\0", b"\0\0\0\x10{\"version\""] {
        let peer = Peer::listen().await;
        let endpoint = peer.endpoint();
        let close = async {
            let (mut wire, ..) = peer.request().await;
            wire.send_bytes(partial_reply).await;
        };
        let (outcome, ()) = tokio::join!(run(["call", &endpoint, "--text", "x"]), close);
        outcome.error(3);
    }
}

#[tokio::test]
async fn a_call_that_takes_too_long_exits_with_4() {
    let server = Server::agent("slow:600000").await;
    for command in ["call", "stream"] {
        let outcome = run([
            command,
            &server.endpoint,
            "--text",
            "x",
            "--timeout",
            "200ms",
        ])
        .await;
        assert!(
            outcome.error(4).contains("timed out after 200ms"),
            "{outcome:?}"
        );
    }
}

#[tokio::test]
async fn a_reply_that_violates_the_protocol_exits_with_5() {
    let answers = [
        b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
        frame("not JSON"),
        frame(r#"{"type": "response"}"#),
        frame(r#"{"version": "2.0", "type": "response", "id": "x", "payload": {}}"#),
    ];
    for answer in answers {
        let peer = Peer::listen().await;
        let endpoint = peer.endpoint();
        let script = async {
            let (mut wire, ..) = peer.request().await;
            wire.send_bytes(&answer).await;
            wire
        };
        let (outcome, _wire) = tokio::join!(run(["call", &endpoint, "--text", "x"]), script);
        outcome.error(5);
    }
}

#[tokio::test]
async fn a_reply_of_the_wrong_type_exits_with_5() {
    for command in ["call", "stream"] {
        let peer = Peer::listen().await;
        let endpoint = peer.endpoint();
        let script = async {
            let (mut wire, id, _) = peer.request().await;
            wire.send(&id, Heartbeat::healthy("x")).await;
            wire
        };
        let (outcome, _wire) = tokio::join!(run([command, &endpoint, "--text", "x"]), script);
        outcome.error(5);
    }
}

#[tokio::test]
async fn a_closed_standard_output_is_not_an_error() {
    let server = Server::agent("echo").await;
    // Unlike a pipe from `Stdio::piped`, a socket can lose its reader before the program starts.
    let (stdout, other_end) = UnixStream::pair().expect("pair");
    drop(other_end);
    let mut command = program(["call", &server.endpoint, "--text", "x"]);
    command.stdout(Stdio::from(OwnedFd::from(stdout)));
    let child = command.spawn().expect("start");
    let output = within(child.wait_with_output()).await.expect("wait");
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_standard_output_is_an_error() {
    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .expect("open");
    let server = Server::agent("echo").await;
    let mut command = program(["call", &server.endpoint, "--text", "x"]);
    command.stdout(full);
    let output = within(command.spawn().expect("start").wait_with_output());
    let output = output.await.expect("wait");
    assert_eq!(output.status.code(), Some(3));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        stderr.starts_with("agentwire: cannot write to standard output: "),
        "{stderr}"
    );
    assert_eq!(stderr.matches('\n').count(), 1);
}

#[tokio::test]
async fn verbose_logs_to_standard_error_only() {
    let server = Server::agent("echo").await;
    let call = ["call", &server.endpoint, "--text", "a secret"];
    assert_eq!(run(call).await.messages().len(), 1);
    for verbose in ["-v", "-vv", "-vvv"] {
        // The flag may precede or follow the command.
        for args in [
            [&[verbose], &call[..]].concat(),
            [&call[..], &[verbose]].concat(),
        ] {
            let outcome = run(args).await;
            assert_eq!(outcome.code, 0, "{outcome:?}");
            assert!(outcome.stderr.contains(" INFO process OK "), "{outcome:?}");
            // Only -vvv shows what is in the frames.
            let is_shown = outcome.stderr.contains("secret");
            assert_eq!(is_shown, verbose == "-vvv", "{outcome:?}");
            let stdout = String::from_utf8_lossy(&outcome.stdout);
            assert_eq!(parse_lines(&stdout).len(), 1);
        }
    }
}
