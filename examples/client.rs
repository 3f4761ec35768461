//! Calls an agent and prints its reply: `cargo run --example client [ENDPOINT] [TEXT]`
//!
//! Start the example `server` or the script `examples/python/echo_agent.py` first.

use std::{env, process};

use agentwire::{Error, Message, RemoteAgent};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let mut arguments = env::args().skip(1);
    let endpoint = arguments
        .next()
        .unwrap_or_else(|| "tcp://127.0.0.1:4850".to_owned());
    let text = arguments.next().unwrap_or_else(|| "hello".to_owned());

    let agent = RemoteAgent::new(&endpoint)?;
    match agent.process(Message::user(text)).await {
        Ok(reply) => println!("{}", reply.content.to_plain_text()),
        Err(error) if error.is_connect() => {
            eprintln!("Cannot connect to {endpoint}. Start the example `server` first.");
            process::exit(1);
        }
        Err(error) => return Err(error),
    }
    Ok(())
}
