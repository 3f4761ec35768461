//! Streaming: one caller reads a stream until it ends, and another caller drops its stream early.
//!
//! Run the example with `cargo run --example streaming`.

use std::time::Duration;

use agentwire::{Agent, AgentError, Error, LocalAgent, Message, RemoteAgent, RequestContext};
use futures_core::Stream;
use futures_util::stream;

/// An agent that counts down from the number in the message.
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
        // The agent can return any `Stream`. This stream is lazy: the server polls it only while
        // the connection can accept more data, so chunks for a slow caller do not accumulate in
        // memory.
        let left = message.content.as_u64().unwrap_or_default();
        stream::unfold(Run { left }, |mut run| async move {
            let number = run.left;
            run.left = number.checked_sub(1)?; // `None` ends the stream.
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
    drop(numbers); // Cancels the call; the server drops the stream.

    server.stop().await;
    Ok(())
}
