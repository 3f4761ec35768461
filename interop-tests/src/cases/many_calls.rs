//! Cases of many calls.

use agentwire::{Map, Message};
use futures_util::future::try_join_all;

use super::{client, echo, echo_with};
use crate::{Target, TestResult, expect};

/// 500 calls, one after the other.
pub async fn sequential_calls(target: Target<'_>) -> TestResult {
    let client = client(target)?;
    for number in 0..500 {
        echo(&client, format!("call {number}")).await?;
    }
    Ok(())
}

/// 32 clients with 20 calls each. Each call gets its own reply.
pub async fn concurrent_clients(target: Target<'_>) -> TestResult {
    let calls = (0..32).map(|caller| twenty_calls(target, caller));
    try_join_all(calls).await?;
    Ok(())
}

async fn twenty_calls(target: Target<'_>, caller: i32) -> TestResult {
    let client = client(target)?;
    for number in 0..20 {
        let text = format!("client {caller}, call {number}");
        echo_with(&client, text, Map::from([("client", caller)])).await?;
    }
    Ok(())
}

/// 64 concurrent calls on one client, half of them slow. Each call gets its own reply.
pub async fn concurrent_calls(target: Target<'_>) -> TestResult {
    let client = client(target)?;
    let call = async |number: i32| {
        let mut message = Message::user(format!("call {number}"));
        if number % 2 == 0 {
            message = message.with_metadata("do", "slow").with_metadata("ms", 20);
        }
        let reply = client.process(message.clone()).await?;
        expect("the content", &reply.content, &message.content)
    };
    try_join_all((0..64).map(call)).await?;
    Ok(())
}

/// A call before and a call after `restart`, which replaces the server, on the same client.
pub async fn server_restart(
    target: Target<'_>,
    restart: impl Future<Output = TestResult>,
) -> TestResult {
    let client = client(target)?;
    echo(&client, "before the restart").await?;
    restart.await?;
    echo(&client, "after the restart").await
}
