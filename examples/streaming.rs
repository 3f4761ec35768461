//! Streaming: a caller reads a stream to its end, and another stops early.
//!
//! Run it with `cargo run --example streaming`.

use std::time::Duration;

use agentwire::{Agent, AgentError, Error, LocalAgent, Message, RemoteAgent, RequestContext};
use futures_core::Stream;
use futures_util::stream;

/// Counts down from the number in the message.
struct Countdown;

impl Agent for Countdown {
    fn name(&self) -> &str {
        "countdown"
    }

    async fn process(&self, _: Message, _: RequestContext) -> Result<Message, AgentError> {
        Err(AgentError::new("this agent only streams"))
    }

    fn stream(
        &self,
        message: Message,
        _: RequestContext,
    ) -> impl Stream<Item = Result<Message, AgentError>> + Send {
        // Any `Stream` will do. This one is lazy: the server polls it only while the connection can
        // take more, so a slow caller does not make chunks pile up in memory.
        let left = message.content.as_u64().unwrap_or_default();
        stream::unfold(Run { left }, |mut run| async move {
            let number = run.left;
            run.left = number.checked_sub(1)?; // None ends the stream.
            tokio::time::sleep(Duration::from_millis(20)).await;
            Some((Ok(Message::agent(number)), run))
        })
    }
}

struct Run {
    left: u64,
}

impl Drop for Run {
    fn drop(&mut self) {
        if self.left > 0 {
            println!("   (the agent stops)");
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let server = LocalAgent::serve(Countdown, "memory://countdown").await?;
    let countdown = RemoteAgent::new(server.endpoint())?;

    println!("Read a stream to its end:");
    let mut numbers = countdown.stream(Message::user(3));
    while let Some(number) = numbers.next().await {
        println!("   {}", number?.content);
    }

    println!("Drop a stream after two of a million numbers:");
    let mut numbers = countdown.stream(Message::user(1_000_000));
    for _ in 0..2 {
        if let Some(number) = numbers.next().await {
            println!("   {}", number?.content);
        }
    }
    drop(numbers); // Cancels the stream; the server drops it.

    server.stop().await;
    Ok(())
}
