use agentwire::{Map, Message};
use futures_util::future::try_join_all;

use super::{client, echo, echo_with};
use crate::{Outcome, Target, expect};

/// 500 calls, one after the other.
pub async fn sequential_calls(target: Target<'_>) -> Outcome {
    let client = client(target)?;
    for number in 0..500 {
        echo(&client, format!("call {number}")).await?;
    }
    Ok(())
}

/// 32 clients with 20 calls each; everyone gets the reply to their own call.
pub async fn concurrent_clients(target: Target<'_>) -> Outcome {
    let calls = (0..32).map(|caller| twenty_calls(target, caller));
    try_join_all(calls).await?;
    Ok(())
}

async fn twenty_calls(target: Target<'_>, caller: i32) -> Outcome {
    let client = client(target)?;
    for number in 0..20 {
        let text = format!("client {caller}, call {number}");
        echo_with(&client, text, Map::from([("client", caller)])).await?;
    }
    Ok(())
}

/// 64 calls at once on one client, every other one slow; everyone gets the reply to their own.
pub async fn concurrent_calls(target: Target<'_>) -> Outcome {
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

/// A call, then `restart`, which replaces the server, then another call on the same client.
pub async fn server_restart(target: Target<'_>, restart: impl Future<Output = Outcome>) -> Outcome {
    let client = client(target)?;
    echo(&client, "before the restart").await?;
    restart.await?;
    echo(&client, "after the restart").await
}
