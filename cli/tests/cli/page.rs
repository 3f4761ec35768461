//! The page of the administrative endpoint, in Chromium.

use std::process::Stdio;

use tokio::{net::UnixStream, process::Command};

use crate::{
    admin::serve,
    program::{run, within},
};

/// Returns the document as Chromium has it after a few seconds of the page's own time.
async fn document(url: &str, width: u32) -> String {
    let profile = tempfile::tempdir().unwrap();
    let mut command = Command::new("chromium");
    command
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
        ])
        .args([
            "--disable-background-networking",
            "--disable-component-update",
        ])
        .args([
            "--disable-sync",
            "--disable-quic",
            "--virtual-time-budget=5000",
        ])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("--window-size={width},800"))
        .args(["--dump-dom", url])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let output = within(command.output()).await.unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn the_page_shows_requests_and_never_the_markup_of_a_name() {
    let directory = tempfile::tempdir().unwrap();
    // The path is in the table of connections.
    let marked = directory.path().join("<img src=x onerror=alert(1)>");
    std::fs::create_dir(&marked).unwrap();
    let socket = marked.join("a.sock");
    let endpoint = format!("unix://{}", socket.display());
    let args = ["serve", &endpoint, "--admin", "http://127.0.0.1:0"];
    let (_server, admin, endpoint) = serve(&args).await;
    for _ in 0..3 {
        run(["call", &endpoint, "hello"]).await.success();
    }
    let _connection = UnixStream::connect(&socket).await.unwrap();
    for width in [390, 1280] {
        let document = document(&admin, width).await;
        assert!(document.contains("requests"), "{document}");
        assert!(document.contains(">echo</td>"), "{document}");
        assert!(document.contains("&lt;img src=x"), "{document}");
        assert!(!document.contains("<img"), "{document}");
    }
}
