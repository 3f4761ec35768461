//! An agent that streams its answer, a caller that reads all of it, and one that stops early.
//!
//! Run it with `cargo run --example streaming`.

use std::time::Duration;

use agentwire::{Agent, AgentError, Error, LocalAgent, Message, RemoteAgent, RequestContext};
use futures_core::Stream;
use futures_util::stream;

/// Counts down from the number that it is sent.
struct Countdown;

impl Agent for Countdown {
    fn name(&self) -> &str {
        "countdown"
    }

    async fn process(&self, _: Message, _: RequestContext) -> Result<Message, AgentError> {
        Err(AgentError::new("I can only stream"))
    }

    fn stream(
        &self,
        message: Message,
        _: RequestContext,
    ) -> impl Stream<Item = Result<Message, AgentError>> + Send {
        // Any stream will do. This one makes the next number only when there is room for it, so
        // that nothing piles up when the caller is slow.
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
            println!("   (the agent notices and stops)");
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let server = LocalAgent::serve(Countdown, "memory://countdown").await?;
    let countdown = RemoteAgent::new(server.endpoint())?;

    println!("Reading a stream to its end:");
    let mut numbers = countdown.stream(Message::user(3));
    while let Some(number) = numbers.next().await {
        println!("   {}", number?.content);
    }

    println!("Dropping one after two of a million numbers:");
    let mut numbers = countdown.stream(Message::user(1_000_000));
    for _ in 0..2 {
        if let Some(number) = numbers.next().await {
            println!("   {}", number?.content);
        }
    }
    drop(numbers); // Closes the stream's connection, which tells the agent to stop.

    server.stop().await;
    Ok(())
}
