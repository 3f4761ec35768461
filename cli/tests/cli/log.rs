//! The log: `-v`, `-vv`, `-vvv`, `--log-format` and `AGENTWIRE_LOG`.

use agentwire_codec::Value;
use rustix::process::Signal;

use crate::{
    peer::Peer,
    program::{Server, finish, parse_lines, program, run},
};

async fn server(options: &[&str]) -> Server {
    Server::start([options, &["serve", "tcp://127.0.0.1:0"]].concat()).await
}

/// Stops a server and returns its log.
async fn stop(server: Server) -> String {
    server.running.send(Signal::TERM);
    server.running.end().await.stderr
}

fn text<'a>(line: &'a Value, key: &str) -> &'a str {
    line[key]
        .as_str()
        .unwrap_or_else(|| panic!("{key}: {line}"))
}

/// Returns the lines about requests, which have a code.
fn requests(log: &str) -> Vec<Value> {
    let lines = parse_lines(log).into_iter();
    lines.filter(|line| line["code"] != Value::Null).collect()
}

#[tokio::test]
async fn verbose_logs_one_line_for_each_request_on_both_sides() {
    let server = server(&["-v"]).await;
    let endpoint = server.endpoint.clone();
    let call = run(["-v", "call", &endpoint, "--name", "echo", "x"]).await;
    let stream = run(["stream", &endpoint, "--name", "echo", "x", "-v"]).await;
    let tool = run(["-v", "execute", &endpoint, "knit"]).await;
    let log = stop(server).await;
    for (side, word) in [(&call.stderr, " at tcp://"), (&log, " from tcp://")] {
        let lines: Vec<_> = side
            .lines()
            .filter(|line| line.contains(" process "))
            .collect();
        let [line] = lines[..] else {
            panic!("{side}");
        };
        for part in [" INFO process echo OK ", " ms", word, " id="] {
            assert!(line.contains(part), "{part} in {line}");
        }
        assert!(!line.contains('\u{1b}'), "{line}");
    }
    assert!(log.contains("stream echo OK "), "{log}");
    assert!(stream.stderr.contains("stream echo OK "), "{stream:?}");
    // The name of an unknown tool is a text of the caller.
    assert!(log.contains("execute TOOL_NOT_FOUND "), "{log}");
    assert!(tool.stderr.contains("execute TOOL_NOT_FOUND "), "{tool:?}");
    assert_eq!(
        log.lines().filter(|line| line.contains(" ms ")).count(),
        3,
        "{log}"
    );
}

#[tokio::test]
async fn more_verbose_clients_log_their_connections() {
    let server = server(&[]).await;
    let once = run(["-v", "call", &server.endpoint, "x"]).await;
    assert!(!once.stderr.contains("connected"), "{once:?}");
    let twice = run(["-vv", "call", &server.endpoint, "x"]).await;
    let lines = twice.stderr.lines();
    let connected: Vec<_> = lines.filter(|line| line.contains(" connected ")).collect();
    assert_eq!(connected.len(), 1, "{twice:?}");
    assert!(connected[0].contains(&server.endpoint), "{twice:?}");
}

#[tokio::test]
async fn the_line_of_a_tool_that_fails_has_its_outcome_on_both_sides() {
    let serve = ["-v", "serve", "tcp://127.0.0.1:0", "--tool", "fail"];
    let server = Server::start(serve).await;
    let failed = run(["-v", "execute", &server.endpoint, "fail"]).await;
    let log = stop(server).await;
    assert!(log.contains("execute fail TOOL_EXECUTION_FAILED "), "{log}");
    let line = "execute TOOL_EXECUTION_FAILED ";
    assert!(failed.stderr.contains(line), "{failed:?}");
}

#[tokio::test]
async fn json_logs_are_one_object_per_line_on_both_sides() {
    let server = server(&["-vvv", "--log-format", "json"]).await;
    let endpoint = server.endpoint.clone();
    let options = ["--log-format", "json", "-v", "--name", "echo"];
    let called = run([&["call", &*endpoint, "x"], &options[..]].concat()).await;
    let failed = run([&["call", "tcp://127.0.0.1:1", "x"], &options[..]].concat()).await;
    let log = stop(server).await;

    let called = &requests(&called.stderr)[0];
    let served = &requests(&log)[0];
    assert_eq!(text(called, "request_id"), text(served, "request_id"));
    for line in [called, served] {
        assert_eq!(text(line, "agent"), "echo");
        assert_eq!(text(line, "code"), "OK");
        assert_eq!(text(line, "level"), "info");
        assert!(line["duration_ms"].as_f64().expect("a number") > 0.0);
    }
    let lines = parse_lines(&failed.stderr);
    assert_eq!(text(lines.last().expect("a line"), "level"), "error");
    assert_eq!(
        text(&requests(&failed.stderr)[0], "code"),
        "CONNECTION_FAILED"
    );
    // Frames are objects, too.
    let frames = parse_lines(&log);
    let frame = frames.iter().find(|line| line["message"] == "received");
    assert!(
        text(frame.expect("a frame"), "payload").starts_with('{'),
        "{log}"
    );
}

#[tokio::test]
async fn frames_are_shown_with_direction_and_length_and_without_secrets() {
    let server = server(&["-vvv"]).await;
    let endpoint = server.endpoint.clone();
    let long = "x".repeat(2000);
    for (codec, secret) in [("json", "api_key"), ("msgpack", "authorization")] {
        let header = format!("{secret}=hunter2");
        let args = [
            "-vvv", "call", &endpoint, &long, "--header", &header, "--codec", codec,
        ];
        let metadata = ["--metadata", r#"{"token": ["hunter2"], "zone": "b"}"#];
        let called = run(args.iter().chain(&metadata)).await;
        let sent = called.stderr.lines().find(|line| line.contains("-> "));
        let sent = sent.expect("a frame");
        assert!(
            sent.contains(&format!(" bytes {codec} to tcp://")),
            "{sent}"
        );
        // A frame is cut at 1 KiB.
        assert!(sent.ends_with("xxx…") && sent.len() < 1200, "{sent}");
        let whole = run(args
            .iter()
            .chain(&metadata)
            .chain(&["--log-frame-limit", "1MiB"]))
        .await;
        let log = &whole.stderr;
        assert!(
            log.contains(&long) && log.contains(r#""zone": "b""#),
            "{log}"
        );
        assert!(log.contains(r#""token": "***""#), "{log}");
        assert!(
            !log.contains("hunter2") && !called.stderr.contains("hunter2"),
            "{log}"
        );
        assert_eq!(log.matches(" bytes ").count(), 2, "{log}");
    }
    let log = stop(server).await;
    assert!(log.contains("<- ") && log.contains("-> "), "{log}");
    assert!(!log.contains("hunter2"), "{log}");
}

#[tokio::test]
async fn messages_of_http_and_grpc_are_shown_like_frames() {
    for (scheme, word) in [("http", "json"), ("h2c", "json"), ("grpc", "protobuf")] {
        let endpoint = format!("{scheme}://127.0.0.1:0");
        let serve = ["-vvv", "serve", &endpoint, "--agent", "count:2"];
        let server = Server::start(serve).await;
        let endpoint = server.endpoint.clone();
        let long = "x".repeat(2000);
        let secret = ["--metadata", r#"{"token": "hunter2"}"#];
        for (command, received) in [("call", 1), ("stream", 3)] {
            let args = ["-vvv", command, &endpoint, &long];
            let log = run(args.iter().chain(&secret)).await.stderr;
            let frames = |mark| log.lines().filter(move |line| line.contains(mark));
            let sent: Vec<_> = frames("-> ").collect();
            assert_eq!((sent.len(), frames("<- ").count()), (1, received), "{log}");
            let place = format!(" bytes {word} to {scheme}://");
            assert!(sent[0].contains(&place), "{log}");
            assert!(sent[0].contains("{\"version\": \"1.0\""), "{log}");
            assert!(sent[0].ends_with('…') && sent[0].len() < 1200, "{log}");
            let whole = [&args[..], &secret, &["--log-frame-limit", "1MiB"]].concat();
            let log = run(whole).await.stderr;
            assert!(
                log.contains(&long) && log.contains(r#""token": "***""#),
                "{log}"
            );
            assert!(!log.contains("hunter2"), "{log}");
        }
        // An error is an answer, too.
        let denied = run(["execute", &endpoint, "knit"]).await;
        denied.error(1);
        let log = stop(server).await;
        for (mark, count) in [("<- ", 5), ("-> ", 9)] {
            let place = format!(
                " bytes {word} {} tcp://",
                if mark == "<- " { "from" } else { "to" }
            );
            let lines: Vec<_> = log.lines().filter(|line| line.contains(mark)).collect();
            assert_eq!(lines.len(), count, "{scheme} {log}");
            assert!(lines.iter().all(|line| line.contains(&place)), "{log}");
        }
        assert!(!log.contains("hunter2"), "{log}");
        assert!(log.contains("TOOL_NOT_FOUND"), "{log}");
    }
}

/// The reply contains a secret, a line break and commands for a terminal.
#[tokio::test]
async fn frames_from_a_peer_are_escaped() {
    let peer = Peer::listen().await;
    let endpoint = peer.endpoint();
    let answer = async {
        let (mut wire, id, _) = peer.request().await;
        let message = "{\"role\": \"agent\", \"content\": \"\u{202e}\", \"metadata\": {\"token\": \"hunter2\"}}";
        let head = format!(r#""version": "1.0", "type": "response", "id": "{id}""#);
        let payload = format!(r#"{{{head}, "payload": {{"message": {message}}}}}"#);
        wire.send_payload(&payload).await;
        wire
    };
    let args = ["-vvv", "call", &endpoint, "x"];
    let (outcome, _wire) = tokio::join!(run(args), answer);
    let log = outcome.stderr;
    assert!(log.contains(r"\u{202e}"), "{log}");
    assert!(
        !log.contains('\u{202e}') && !log.contains("hunter2"),
        "{log}"
    );
}

#[tokio::test]
async fn the_environment_sets_the_level() {
    let server = server(&[]).await;
    for (level, shown) in [("info", true), ("off", false), ("", false)] {
        let mut command = program(["call", &server.endpoint, "x"]);
        command.env("AGENTWIRE_LOG", level);
        let outcome = finish(command).await;
        assert_eq!(
            outcome.stderr.contains(" process OK "),
            shown,
            "{outcome:?}"
        );
        assert!(!outcome.stderr.contains("-> "), "{outcome:?}");
    }
    let mut command = program(["call", &server.endpoint, "x"]);
    command.env("AGENTWIRE_LOG", "loud");
    assert!(finish(command).await.error(2).contains("AGENTWIRE_LOG"));
}

#[tokio::test]
async fn colors_follow_the_environment_everywhere() {
    let server = server(&[]).await;
    for (variables, colored) in [
        (&[][..], false),
        (&[("CLICOLOR_FORCE", "1")], true),
        (&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], false),
        (&[("TERM", "dumb")], false),
    ] {
        for args in [
            &["-v", "call", &server.endpoint, "x"][..],
            &["call", "--help"],
            &["describe"],
        ] {
            let mut command = program(args);
            command.env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
            command.envs(variables.iter().copied());
            let outcome = finish(command).await;
            let stdout = String::from_utf8_lossy(&outcome.stdout).into_owned();
            let text = if args.len() == 2 {
                stdout
            } else {
                outcome.stderr
            };
            // An error is never colored.
            let expected = colored && args != ["describe"];
            assert_eq!(text.contains('\u{1b}'), expected, "{variables:?} {text:?}");
        }
    }
}
