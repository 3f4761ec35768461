//! Cases in which the client abandons a call.

use std::time::Duration;

use agentwire::{Message, RemoteAgent};

use super::{client, echo};
use crate::{Target, TestFailure, TestResult, expect, expect_that};

/// Checks that a call fails when the timeout of the client expires.
pub async fn deadline(target: Target<'_>) -> TestResult {
    let builder = RemoteAgent::builder(target.endpoint)
        .format(target.format)
        .timeout(Duration::from_millis(50));
    match builder.build()?.process(never_ending()).await {
        Ok(_) => Err(TestFailure::new("expected a timeout, got a reply")),
        Err(error) => expect_that(error.is_timeout(), || format!("not a timeout: {error:?}")),
    }
}

/// Drops a call while the agent processes it. The next call must receive its own reply instead of
/// the late reply (PROTOCOL 6.2), and must not wait for the dropped call (PROTOCOL 6.6).
pub async fn dropped_call(target: Target<'_>) -> TestResult {
    let client = client(target)?;
    let call = client.process(never_ending());
    let late = tokio::time::timeout(Duration::from_millis(100), call).await;
    expect_that(late.is_err(), || format!("expected no reply, got {late:?}"))?;
    echo(&client, "after the dropped call").await
}

/// Drops a stream of many chunks after two chunks. The next call must receive its own reply.
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

/// Returns a message for which the agent needs longer than the time limit of any test.
fn never_ending() -> Message {
    Message::user("too late")
        .with_metadata("do", "slow")
        .with_metadata("ms", 600_000)
}
