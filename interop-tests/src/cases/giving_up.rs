use std::time::Duration;

use agentwire::{Message, RemoteAgent};

use super::{client, echo};
use crate::{Failure, Outcome, Target, expect, expect_that};

/// A call whose reply takes longer than the client waits.
pub async fn deadline(target: Target<'_>) -> Outcome {
    let builder = RemoteAgent::builder(target.endpoint)
        .format(target.format)
        .timeout(Duration::from_millis(50));
    match builder.build()?.process(never_ending()).await {
        Ok(_) => Err(Failure::new("expected a timeout, got a reply")),
        Err(error) => expect_that(error.is_timeout(), || format!("not a timeout: {error:?}")),
    }
}

/// A call that is dropped while the agent works. The next one gets its own reply, not the late one
/// (PROTOCOL 6.2), and does not wait for it (PROTOCOL 6.6).
pub async fn dropped_call(target: Target<'_>) -> Outcome {
    let client = client(target)?;
    let call = client.process(never_ending());
    let late = tokio::time::timeout(Duration::from_millis(100), call).await;
    expect_that(late.is_err(), || format!("expected no reply, got {late:?}"))?;
    echo(&client, "after the call that was dropped").await
}

/// A stream that is dropped after two of many chunks. The next call gets its own reply.
pub async fn dropped_stream(target: Target<'_>) -> Outcome {
    let client = client(target)?;
    let mut stream = client.stream(Message::user("chunk").with_metadata("count", 100_000));
    for i in 0..2 {
        let Some(chunk) = stream.next().await else {
            return Err(Failure::new(format!("the stream ended before chunk {i}")));
        };
        let wanted = format!("chunk #{i}");
        expect("the content", &chunk?.text(), &Some(wanted.as_str()))?;
    }
    drop(stream);
    echo(&client, "after the stream that was dropped").await
}

/// A call that outlasts every limit of these tests.
fn never_ending() -> Message {
    Message::user("too late")
        .with_metadata("do", "slow")
        .with_metadata("ms", 600_000)
}
