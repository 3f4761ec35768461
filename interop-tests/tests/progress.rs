//! Typed progress, which agenkit's client reads as plain messages.

use agentwire::{LocalAgent, Message, Value, progress::Progress, stream_fn, value};
use agentwire_codec::json;
use agentwire_interop_tests::{TestFailure, TestResult, expect_that, script_command, within};
use futures_util::stream;

/// Streams the progress of a task, and returns the chunks as agenkit's client sees them.
async fn chunks(endpoint: &str) -> Result<Vec<Value>, TestFailure> {
    let index = stream_fn("index", |_: Message| {
        stream::iter([
            Ok(Progress::started().into()),
            Ok(Progress::processing(1, 2).with_message("a.txt").into()),
            Ok(Progress::complete().attach(Message::agent("2 files"))),
        ])
    });
    let server = LocalAgent::serve(index, endpoint).await?;
    let endpoint = server.endpoint().to_string();
    let mut command = script_command("progress.py", &[&endpoint])?;
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    server.stop().await;
    let errors = String::from_utf8_lossy(&output.stderr);
    expect_that(output.status.success(), || errors.into_owned())?;
    let lines = output.stdout.split(|byte| *byte == b'\n');
    let lines = lines.filter(|line| !line.is_empty());
    Ok(lines.map(json::from_slice).collect::<Result<_, _>>()?)
}

#[tokio::test]
async fn agenkit_reads_progress_as_messages() -> TestResult {
    let expected = [
        value!(["agent", "", {"progress": {"state": "started"}}]),
        value!(["agent", "a.txt", {"progress": {
            "state": "processing", "step": 1, "total": 2, "progress": 0.5, "message": "a.txt",
        }}]),
        value!(["agent", "2 files", {"progress": {"state": "complete", "progress": 1.0}}]),
    ];
    for endpoint in [
        "tcp://127.0.0.1:0",
        "ws://127.0.0.1:0",
        "http://127.0.0.1:0",
    ] {
        let found = within(chunks(endpoint)).await?;
        expect_that(found == expected, || format!("{endpoint}: {found:?}"))?;
    }
    Ok(())
}

#[tokio::test]
async fn agenkit_reads_the_texts_of_progress_over_grpc() -> TestResult {
    let found = within(chunks("grpc://127.0.0.1:0")).await?;
    let contents: Vec<_> = found.iter().map(|chunk| &chunk[1]).collect();
    expect_that(contents == ["", "a.txt", "2 files"], || {
        format!("{found:?}")
    })
}
