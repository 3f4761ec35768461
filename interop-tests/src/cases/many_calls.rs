//! Cases with many calls.

use agentwire::{Map, Message};
use futures_util::future::try_join_all;

use super::{client, echo, echo_with};
use crate::{Target, TestResult, expect};

/// Makes 500 calls in sequence.
pub async fn sequential_calls(target: Target<'_>) -> TestResult {
    let client = client(target)?;
    for number in 0..500 {
        echo(&client, format!("call {number}")).await?;
    }
    Ok(())
}

/// Makes 20 calls from each of 32 clients. Each call must receive its own reply.
pub async fn concurrent_clients(target: Target<'_>) -> TestResult {
    let calls = (0..32).map(|caller| twenty_calls(target, caller));
    try_join_all(calls).await?;
    Ok(())
}

async fn twenty_calls(target: Target<'_>, caller: i32) -> TestResult {
    let client = client(target)?;
    for number in 0..20 {
        let text = format!("client {caller}, call {number}");
        echo_with(&client, text, Map::from([("client", caller.to_string())])).await?;
    }
    Ok(())
}

/// Makes 64 concurrent calls with one client, half of which are slow. Each call must receive its
/// own reply.
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

/// Makes one call before and one call after `restart` with the same client. The future `restart`
/// replaces the server.
pub async fn server_restart(
    target: Target<'_>,
    restart: impl Future<Output = TestResult>,
) -> TestResult {
    let client = client(target)?;
    echo(&client, "before the restart").await?;
    restart.await?;
    echo(&client, "after the restart").await
}
