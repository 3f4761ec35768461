//! Cases of calls that the client abandons.

use std::time::Duration;

use agentwire::{Message, RemoteAgent};

use super::{client, echo};
use crate::{Target, TestFailure, TestResult, expect, expect_that};

/// A call that exceeds the client's timeout.
pub async fn deadline(target: Target<'_>) -> TestResult {
    let builder = RemoteAgent::builder(target.endpoint)
        .format(target.format)
        .timeout(Duration::from_millis(50));
    match builder.build()?.process(never_ending()).await {
        Ok(_) => Err(TestFailure::new("expected a timeout, got a reply")),
        Err(error) => expect_that(error.is_timeout(), || format!("not a timeout: {error:?}")),
    }
}

/// A call that is dropped while the agent works. The next call gets its own reply, not the late one
/// (PROTOCOL 6.2), and does not wait for the dropped call (PROTOCOL 6.6).
pub async fn dropped_call(target: Target<'_>) -> TestResult {
    let client = client(target)?;
    let call = client.process(never_ending());
    let late = tokio::time::timeout(Duration::from_millis(100), call).await;
    expect_that(late.is_err(), || format!("expected no reply, got {late:?}"))?;
    echo(&client, "after the dropped call").await
}

/// A stream that is dropped after two of its many chunks. The next call gets its own reply.
pub async fn dropped_stream(target: Target<'_>) -> TestResult {
    let client = client(target)?;
    let mut stream = client.stream(Message::user("chunk").with_metadata("count", 100_000));
    for i in 0..2 {
        let Some(chunk) = stream.next().await else {
            return Err(TestFailure::new(format!(
                "the stream ended before chunk {i}"
            )));
        };
        let wanted = format!("chunk #{i}");
        expect("the content", &chunk?.text(), &Some(wanted.as_str()))?;
    }
    drop(stream);
    echo(&client, "after the dropped stream").await
}

/// A call that takes longer than every time limit of these tests.
fn never_ending() -> Message {
    Message::user("too late")
        .with_metadata("do", "slow")
        .with_metadata("ms", 600_000)
}
