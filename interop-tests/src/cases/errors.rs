//! Cases in which the agent fails.

use agentwire::{Error, Message};

use super::{client, collect, echo, expect_chunks, named_client};
use crate::{Target, TestFailure, TestResult, expect, expect_that};

/// Checks that the error text of an agent is received unchanged, and that the client remains
/// usable.
pub async fn agent_error(target: Target<'_>) -> TestResult {
    let client = client(target)?;
    for content in ["it broke", "é 😀 \n \"quoted\"", ""] {
        let message = Message::user(content).with_metadata("do", "fail");
        let result = client.process(message).await;
        expect_error(result, &format!("deliberate failure: {content}"))?;
    }
    echo(&client, "after the error").await
}

/// Checks that a failing stream yields the chunks before the failure, and then the error text.
pub async fn error_mid_stream(target: Target<'_>) -> TestResult {
    let client = client(target)?;
    for fail_after in [0, 2, 5] {
        let message = Message::user("part")
            .with_metadata("count", 5)
            .with_metadata("fail_after", fail_after);
        let (chunks, end) = collect(client.stream(message)).await;
        expect_chunks(&chunks, &"part".into(), fail_after)?;
        expect_error(end, &format!("deliberate failure after {fail_after}"))?;
    }
    echo(&client, "after the error").await
}

/// Calls the agent `mute`, which does not support streaming, with a stream request. The server must
/// serve this agent.
pub async fn no_streaming(target: Target<'_>) -> TestResult {
    let client = named_client(target, "mute")?;
    let (chunks, end) = collect(client.stream(Message::user("sing"))).await;
    expect_chunks(&chunks, &"sing".into(), 0)?;
    expect_error(end, "mute does not support streaming")?;
    echo(&client, "after the error").await
}

/// Checks the error that the server sends if the agent fails.
fn expect_error<T>(result: Result<T, Error>, text: &str) -> TestResult {
    let Err(error) = result else {
        return Err(TestFailure::new("expected an error, got none"));
    };
    expect_that(error.is_remote(), || {
        format!("not an error of the server: {error:?}")
    })?;
    let Some(sent) = error.remote() else {
        return Err(error.into());
    };
    // The servers of agenkit and of Go have codes of their own. Python's servers of HTTP hide the
    // text of the agent (PROTOCOL 11, 15.2 and 15.3).
    let hidden = match sent.code.as_str() {
        "AGENT_ERROR" | "INTERNAL_ERROR" => text,
        "EXECUTION_ERROR" => "An error occurred while processing your request",
        "STREAM_ERROR" => "An error occurred during streaming",
        "NOT_IMPLEMENTED" => "agent does not support streaming",
        code => return Err(TestFailure::new(format!("unexpected code {code}: {sent}"))),
    };
    if sent.message != hidden {
        expect("the error's text", sent.message.as_str(), text)?;
    }
    expect("the number of details", &sent.details.len(), &0)
}
