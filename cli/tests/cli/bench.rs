//! The command `bench`.

use agentwire_codec::Value;

use crate::program::{Server, parse_lines, run};

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
    let refused = run([
        "bench",
        "tcp://127.0.0.1:1",
        "-n",
        "5",
        "--timeout",
        "100ms",
    ])
    .await;
    assert!(refused.error(3).contains("connection failed"));
    let server = Server::agent("fail").await;
    let failing = run(["bench", &server.endpoint, "-n", "5"]).await;
    failing.error(1);
}
