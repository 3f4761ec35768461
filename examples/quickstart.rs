//! Rust calls an agent in Python, and Python calls one in Rust.
//!
//! Run it from the root of the repository: `cargo run --example quickstart`. It needs Python 3.10
//! or later and no packages. The Python side is `echo_agent.py` and `call_agent.py` in
//! `examples/python`.

mod python;

use std::error::Error;

use agentwire::{AgentError, LocalAgent, Message, RemoteAgent, agent_fn};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // The sockets live here. The directory goes away at the end of `main`.
    let directory = tempfile::tempdir()?;
    let socket = |name: &str| format!("unix://{}", directory.path().join(name).display());

    println!("1. An agent in Python, on a Unix socket");
    let echo = python::Agent::start("echo_agent.py", &[&socket("echo.sock")]).await?;
    println!("   echo_agent.py serves {}", echo.endpoint);

    println!("2. Rust calls it");
    let remote = RemoteAgent::new(echo.endpoint.as_str())?;
    let reply = remote.process(Message::user("Hello from Rust!")).await?;
    println!("   the agent replies: {}", reply.content.to_plain_text());

    println!("3. Rust streams from it");
    let mut words = remote.stream(Message::user("one word at a time"));
    while let Some(word) = words.next().await {
        println!("   a chunk arrives: {}", word?.content.to_plain_text());
    }

    println!("4. An agent in Rust, on another Unix socket");
    let shout = agent_fn("shout", |message: Message| async move {
        let text = message
            .text()
            .ok_or_else(|| AgentError::new("I can only shout text"))?;
        Ok(Message::agent(text.to_uppercase()))
    });
    let server = LocalAgent::serve(shout, socket("shout.sock")).await?;
    println!("   LocalAgent serves {}", server.endpoint());

    println!("5. Python calls it");
    let endpoint = server.endpoint().to_string();
    let heard = python::run("call_agent.py", &[&endpoint, "Hello from Python!"]).await?;
    println!("   call_agent.py prints: {heard}");

    // Answers what is still in flight, and removes the socket. The agent in Python ends when
    // `echo` is dropped.
    server.stop().await;
    println!("Done.");
    Ok(())
}
