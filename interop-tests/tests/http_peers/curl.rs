//! curl, with HTTP/1.1, HTTP/2 without TLS, and what the handshake of TLS chooses.

use agentwire_interop_tests::{TestFailure, TestResult, expect, expect_that, within};
use tokio::process::Command;

use super::{
    BODY, Served, authority,
    authority::{Authority, text},
    read_until, run, spawn,
};

/// Returns a command that prints the body, and then the status and the version of HTTP.
fn curl(arguments: &[&str]) -> Command {
    let mut command = Command::new("curl");
    command.args(["-sS", "--max-time", "60"]).args(arguments);
    command.args(["-w", "\n%{http_code} %{http_version}"]);
    command
}

async fn expect_status(arguments: &[&str], expected: &str) -> Result<String, TestFailure> {
    let output = run(&mut curl(arguments)).await?;
    let (body, status) = output.rsplit_once('\n').unwrap_or_default();
    expect(format_args!("{arguments:?}: {body}"), status, expected)?;
    Ok(body.to_owned())
}

/// The options that select a version, and the version that curl reports.
const VERSIONS: [(&str, &str); 3] = [
    ("--http1.1", "1.1"),
    ("--http2-prior-knowledge", "2"),
    // curl offers to change to HTTP/2, which no server has to accept.
    ("--http2", "1.1"),
];

#[tokio::test]
async fn curl_calls_an_agent_and_probes_its_server() -> TestResult {
    within(async {
        let served = Served::plain().await?;
        let url = |path: &str| format!("http://{}{path}", served.address);
        let process = url("/process");
        for (option, version) in VERSIONS {
            let ok = format!("200 {version}");
            let body = expect_status(&[option, "-d", BODY, &process], &ok).await?;
            expect_that(body.contains("over HTTP"), || body.clone())?;
            for path in ["/health", "/ready", "/live", "/describe"] {
                expect_status(&[option, &url(path)], &ok).await?;
                expect_status(&[option, "-I", &url(path)], &ok).await?;
            }
            let not_allowed = format!("405 {version}");
            expect_status(&[option, "-X", "DELETE", &process], &not_allowed).await?;
            let not_found = format!("404 {version}");
            expect_status(&[option, "-d", BODY, &url("/nowhere")], &not_found).await?;
            let bad = format!("400 {version}");
            let body = expect_status(&[option, "-d", "{", &process], &bad).await?;
            expect_that(body.contains("MALFORMED_PAYLOAD"), || body.clone())?;
        }
        served.server.stop().await;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn curl_sends_large_bodies_with_an_expectation_and_in_chunks() -> TestResult {
    within(async {
        let served = Served::plain().await?;
        let url = format!("http://{}/process", served.address);
        let directory = tempfile::tempdir()?;
        let file = directory.path().join("body.json");
        let content = "x".repeat(2 << 20);
        // A server completes only small envelopes.
        let whole =
            r#"{"version": "1.0", "type": "request", "id": "7", "payload": {"method": "process","#;
        let body = BODY.replacen(r#"{"payload": {"#, whole, 1);
        std::fs::write(&file, body.replace("over HTTP", &content))?;
        let data = format!("@{}", text(&file));
        for (option, version) in VERSIONS {
            let ok = format!("200 {version}");
            let body = expect_status(&[option, "--data-binary", &data, &url], &ok).await?;
            expect_that(body.contains(&content), || "the content differs".to_owned())?;
            let chunked = ["-H", "Transfer-Encoding: chunked"];
            let chunked: &[&str] = if version == "2" { &[] } else { &chunked };
            let arguments = [&[option, "-T", text(&file), "-X", "POST", &url], chunked].concat();
            let body = expect_status(&arguments, &ok).await?;
            expect_that(body.contains(&content), || "the content differs".to_owned())?;
        }
        served.server.stop().await;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn curl_shows_the_events_of_a_stream_as_they_are_made() -> TestResult {
    within(async {
        let served = Served::plain().await?;
        let url = format!("http://{}/stream", served.address);
        for (option, version) in VERSIONS {
            let mut child = spawn(&mut curl(&["-N", option, "-d", BODY, &url]))?;
            let mut output = String::new();
            // The second chunk is made after curl has shown the first one.
            read_until(&mut child, &mut output, r#""i": 0"#).await?;
            served.agent.go_on.notify_one();
            read_until(&mut child, &mut output, &format!("\n200 {version}")).await?;
            let events = output.matches("data: ").count();
            expect("the number of events", &events, &4)?;
            expect_that(output.contains("stream_end"), || output.clone())?;
        }
        served.server.stop().await;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn curl_chooses_the_version_in_the_handshake_of_tls() -> TestResult {
    within(async {
        let authority = authority().await?;
        let served = Served::secure(&authority).await?;
        let url = format!("https://{}/process", served.address);
        let ca = authority.file("ca.pem");
        for (option, version) in [("--http2", "2"), ("--http1.1", "1.1")] {
            let arguments = [option, "--cacert", text(&ca), "-d", BODY, &url];
            let body = expect_status(&arguments, &format!("200 {version}")).await?;
            expect_that(body.contains("over HTTP"), || body.clone())?;
        }
        refuses_a_stranger(&url).await?;
        served.server.stop().await;
        Ok(())
    })
    .await
}

/// curl refuses a server whose authority it does not know.
async fn refuses_a_stranger(url: &str) -> TestResult {
    let other = Authority::new("theirs").await?;
    let ca = other.file("ca.pem");
    let mut command = curl(&["--cacert", text(&ca), "-d", BODY, url]);
    let output = command.output().await?;
    expect("the status of curl", &output.status.code(), &Some(60))
}
