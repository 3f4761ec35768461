//! h2load of nghttp2, with many requests at a time on few connections.

use agentwire_interop_tests::{TestResult, expect_that, within};
use tokio::process::Command;

use super::{BODY, Served, authority, authority::text, run};

/// Makes requests, and checks that all have been answered with the status 200.
async fn load(options: &[&str], url: &str) -> TestResult {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("body.json");
    std::fs::write(&file, BODY)?;
    let requests = REQUESTS.to_string();
    let mut command = Command::new("h2load");
    command
        .args(["-n", &requests, "-c", "4", "-t", "1"])
        .args(["-d", text(&file)])
        .args(options)
        .arg(url);
    let output = run(&mut command).await?;
    let done = format!("{REQUESTS} done, {REQUESTS} succeeded, 0 failed, 0 errored, 0 timeout");
    let codes = format!("status codes: {REQUESTS} 2xx, 0 3xx, 0 4xx, 0 5xx");
    expect_that(output.contains(&done) && output.contains(&codes), || {
        format!("{options:?}: {output}")
    })
}

#[tokio::test]
async fn h2load_makes_calls_over_both_versions_without_tls() -> TestResult {
    within(async {
        let served = Served::plain().await?;
        let url = format!("http://{}/process", served.address);
        for options in [&["-m", "32"][..], &["-m", "1"], &["--h1"]] {
            load(options, &url).await?;
        }
        served.server.stop().await;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn h2load_makes_calls_over_tls() -> TestResult {
    within(async {
        let authority = authority().await?;
        let served = Served::secure(&authority).await?;
        // h2load does not check certificates.
        let url = format!("https://{}/process", served.address);
        for options in [&["-m", "32"][..], &["--npn-list", "http/1.1"]] {
            load(options, &url).await?;
        }
        served.server.stop().await;
        Ok(())
    })
    .await
}

const REQUESTS: usize = 4000;
