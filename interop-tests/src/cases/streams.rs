//! Cases with streams.

use agentwire::{Message, RemoteAgent, Value};

use super::{client, collect, echo, expect_chunks, value};
use crate::{Target, TestResult};

/// Reads a stream without chunks.
pub async fn stream_zero(target: Target<'_>) -> TestResult {
    let client = client(target)?;
    expect_stream(&client, "nothing", 0).await?;
    echo(&client, "after the stream").await
}

/// Reads streams with one chunk: one with text, and one with a different value.
pub async fn stream_one(target: Target<'_>) -> TestResult {
    let client = client(target)?;
    expect_stream(&client, "text", 1).await?;
    expect_stream(&client, value(r#"["not", {"a": "text"}]"#)?, 1).await
}

/// Reads a stream with a thousand chunks and checks their order.
pub async fn stream_many(target: Target<'_>) -> TestResult {
    let client = client(target)?;
    expect_stream(&client, "chunk", 1000).await?;
    echo(&client, "after the stream").await
}

async fn expect_stream(
    client: &RemoteAgent,
    content: impl Into<Value>,
    count: usize,
) -> TestResult {
    let message = Message::user(content).with_metadata("count", count);
    let (chunks, end) = collect(client.stream(message.clone())).await;
    end?;
    expect_chunks(&chunks, &message.content, count)
}
