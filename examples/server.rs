//! Serves an agent until Ctrl-C: `cargo run --example server [ENDPOINT]`
//!
//! An endpoint is `unix:///path/to/socket` or `tcp://host:port`. Call the agent with the example
//! `client` or with `examples/python/call_agent.py`.

use std::{env, error::Error};

use agentwire::{LocalAgent, Message, agent_fn};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let endpoint = env::args()
        .nth(1)
        .unwrap_or_else(|| "tcp://127.0.0.1:4850".to_owned());

    let shout = agent_fn("shout", |message: Message| async move {
        let text = message.text().ok_or("expected text")?;
        Ok(Message::agent(text.to_uppercase()))
    });
    let server = LocalAgent::serve(shout, endpoint).await?;

    println!("serving {} (press Ctrl-C to stop)", server.endpoint());
    tokio::signal::ctrl_c().await?;
    server.stop().await; // Waits for the calls in flight.
    Ok(())
}
