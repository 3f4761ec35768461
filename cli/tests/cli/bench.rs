//! The command `bench`.

use agentwire_codec::{Message, Response, Value};

use rustix::process::Signal;
use tokio::net::TcpStream;

use crate::{
    peer::{Peer, Wire},
    program::{GROWING, Running, Server, parse_lines, run},
};

fn number(report: &Value, key: &str) -> u64 {
    report[key]
        .as_u64()
        .unwrap_or_else(|| panic!("{key} in {report}"))
}

#[tokio::test]
async fn bench_makes_the_requested_number_of_calls() {
    let server = Server::agent("echo").await;
    for options in [
        &["-c", "2"][..],
        &["-q", "4"],
        &["-c", "2", "-q", "3", "--codec", "msgpack"],
    ] {
        let mut args = vec![
            "bench",
            &server.endpoint,
            "-n",
            "200",
            "--size",
            "1000",
            "--json",
        ];
        args.extend(options);
        let outcome = run(args).await;
        let [report] = &parse_lines(outcome.success())[..] else {
            panic!("{outcome:?}");
        };
        assert_eq!(number(report, "calls"), 200);
        assert_eq!(report["errors"], agentwire_codec::value!({}));
        let latency = |name: &str| report["latency_us"][name].as_f64().unwrap();
        assert!(latency("min") > 1.0, "{report}");
        assert!(latency("p50") <= latency("p99") && latency("p99") <= latency("max"));
    }
}

#[tokio::test]
async fn bench_counts_the_chunks_of_streams() {
    let server = Server::agent("count:5").await;
    let outcome = run(["bench", &server.endpoint, "--stream", "-n", "20", "--json"]).await;
    let report = &parse_lines(outcome.success())[0];
    assert_eq!(
        (number(report, "calls"), number(report, "chunks")),
        (20, 100)
    );
}

#[tokio::test]
async fn bench_prints_a_report_as_text() {
    let server = Server::agent("echo").await;
    let outcome = run(["bench", &server.endpoint, "-n", "50"]).await;
    let text = outcome.success();
    for part in [
        "1 connection x 1 in flight, 64 bytes",
        "50 calls in",
        "p99.9",
        "#",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[tokio::test]
async fn bench_fails_if_no_call_succeeds() {
    let refused = run(["bench", "tcp://127.0.0.1:1", "-n", "5", "--timeout", "2s"]).await;
    assert!(refused.error(3).contains("connection failed"));
    let server = Server::agent("fail").await;
    let failing = run(["bench", &server.endpoint, "-n", "5"]).await;
    failing.error(1);
}

#[tokio::test]
async fn bench_ends_at_its_duration_although_the_server_hangs_or_is_gone() {
    let hanging = Server::agent("slow:600000").await;
    let outcome = run(["bench", &hanging.endpoint, "-d", "200ms", "-q", "3"]).await;
    assert!(outcome.error(4).contains("no call was answered within"));

    // The client would retry for its timeout of 30 s.
    let outcome = run(["bench", "tcp://127.0.0.1:1", "-d", "200ms", "--json"]).await;
    assert!(outcome.error(3).contains("connection failed"));

    // The server answers one call, and is gone after the next one. The client would try to reach it
    // for an hour.
    for duration in GROWING {
        let peer = Peer::listen().await;
        let endpoint = peer.endpoint();
        let server = tokio::spawn(async move {
            let wire = answer_one(&peer).await;
            // Listens no longer when the client learns that its connection is closed.
            drop(peer);
            drop(wire);
        });
        let bench = ["bench", &endpoint, "--json", "--timeout", "1h"];
        let outcome = run(bench.iter().chain(&["-d", duration])).await;
        server.abort();
        if outcome.code == 1 {
            let text = std::str::from_utf8(&outcome.stdout).expect("UTF-8");
            assert_eq!(number(&parse_lines(text)[0], "calls"), 1, "{text}");
            assert_eq!(outcome.stderr, "agentwire: 1 of 2 calls failed\n");
            return;
        }
        // The time was over before the first or the second call ended.
        assert!([0, 4].contains(&outcome.code), "{outcome:?}");
    }
    panic!("no call was answered in time");
}

#[tokio::test]
async fn bench_prints_what_it_has_when_it_is_interrupted() {
    let peer = Peer::listen().await;
    let bench = Running::start(["bench", &peer.endpoint(), "-d", "1h", "--json"]);
    let _wire = answer_one(&peer).await;
    bench.send(Signal::INT);
    let outcome = bench.end().await;
    let report = &parse_lines(outcome.success())[0];
    assert_eq!(number(report, "calls"), 1, "{report}");
}

#[tokio::test]
async fn bench_starts_calls_at_a_rate_and_counts_from_their_intended_start() {
    let server = Server::agent("echo").await;
    let rate = ["bench", &server.endpoint, "--json", "--rate", "200/s"];
    let limit = ["-n", "40", "--warm-up", "50ms", "-c", "4"];
    let outcome = run(rate.iter().chain(&limit)).await;
    let report = &parse_lines(outcome.success())[0];
    assert_eq!(number(report, "calls"), 40);
    // 40 calls take 195 ms at this rate, however fast the server is.
    assert!(
        report["seconds"].as_f64().expect("seconds") >= 0.195,
        "{report}"
    );

    // Calls that wait for the caller are late, and their latency grows with each call.
    let slow = Server::agent("slow:20").await;
    let rate = [
        "bench",
        &slow.endpoint,
        "--json",
        "--rate",
        "1000/s",
        "-n",
        "10",
    ];
    let report = &run(rate).await.messages()[0];
    let latency = |name: &str| report["latency_us"][name].as_f64().expect("a number");
    assert!(
        latency("min") >= 20_000.0 && latency("max") >= 190_000.0,
        "{report}"
    );

    // Calls that never started are counted.
    for duration in GROWING {
        let rate = ["bench", &slow.endpoint, "--json", "--rate", "1000/s"];
        let outcome = run(rate.iter().chain(&["-d", duration])).await;
        if outcome.code == 0 {
            let report = &outcome.messages()[0];
            let seconds = report["seconds"].as_f64().expect("a number");
            let calls = number(report, "calls") as f64;
            let missed = number(report, "missed") as f64;
            assert!(calls <= seconds * 50.0 + 1.0, "{report}");
            assert!(missed + calls >= 900.0, "{report}");
            break;
        }
        // The time was over before the first call ended.
        assert_eq!(outcome.code, 4, "{outcome:?}");
    }
    for rate in ["0/s", "fast", "1/h"] {
        run(["bench", &slow.endpoint, "--rate", rate])
            .await
            .error(2);
    }
}

#[tokio::test]
async fn bench_finds_agents_by_name_and_runs_tools() {
    let registry = Server::start(["registry", "serve", "tcp://127.0.0.1:0"]).await;
    let url = &registry.endpoint;
    let serve = [
        "serve",
        "tcp://127.0.0.1:0",
        "--registry",
        url,
        "--tool",
        "add",
    ];
    let mut server = Server::start(serve).await;
    assert!(server.running.line().await.starts_with("registered echo"));
    let by_name = [
        "bench",
        "--registry",
        url,
        "--name",
        "echo",
        "-n",
        "20",
        "--json",
    ];
    let report = &run(by_name).await.messages()[0];
    assert_eq!(
        (number(report, "calls"), &report["endpoint"]),
        (20, &"echo".into())
    );
    let tool = [
        "bench",
        &server.endpoint,
        "-n",
        "20",
        "--json",
        "--tool",
        "add",
    ];
    let args = [&tool[..], &["--args", r#"{"a": 1, "b": 2}"#]].concat();
    let report = &run(args).await.messages()[0];
    assert_eq!(
        (number(report, "calls"), &report["tool"]),
        (20, &"add".into())
    );
    let failed = run(tool).await;
    assert!(
        failed.error(1).contains("a and b must be numbers"),
        "{failed:?}"
    );
    run(["bench", "--registry", url]).await.error(2);
}

/// Answers the first call of a benchmark, and waits for its second, which shows that the benchmark
/// has counted the first.
async fn answer_one(peer: &Peer) -> Wire<TcpStream> {
    let (mut wire, id, _) = peer.request().await;
    wire.send(&id, Response::Message(Message::agent("x"))).await;
    wire.receive().await;
    wire
}

#[tokio::test]
async fn bench_reports_and_fails_if_some_calls_fail() {
    let server = Server::agent("slow:100").await;
    let slow = ["bench", &server.endpoint, "-n", "4", "-c", "4", "--json"];
    let failing = run(slow.iter().chain(&["--timeout", "1ms"])).await;
    assert_ne!(failing.code, 0, "{failing:?}");
}

#[tokio::test]
async fn sizes_that_no_machine_has_are_refused() {
    let huge = u64::MAX.to_string();
    for (option, text) in [
        ("--size", "exceeds --frame-limit"),
        ("-c", "are more than"),
        ("-q", "are more than"),
    ] {
        let outcome = run(["bench", "tcp://127.0.0.1:1", option, &huge]).await;
        assert!(outcome.error(2).contains(text), "{outcome:?}");
    }
}
