//! Rust calls a Python agent, and Python calls a Rust agent.
//!
//! Run the example from the root of the repository with `cargo run --example quickstart`. The
//! example requires Python 3.10 or later, but no packages. The Python programs are
//! `examples/python/echo_agent.py` and `examples/python/call_agent.py`.

mod python;

use std::error::Error;

use agentwire::{LocalAgent, Message, RemoteAgent, agent_fn};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // The directory for the sockets, which is removed at the end of `main`.
    let directory = tempfile::tempdir()?;
    let socket = |name: &str| format!("unix://{}", directory.path().join(name).display());

    println!("1. Start an agent in Python on a Unix socket");
    let echo = python::Agent::start("echo_agent.py", &[&socket("echo.sock")]).await?;
    println!("   echo_agent.py serves {}", echo.endpoint);

    println!("2. Call it from Rust");
    let remote = RemoteAgent::new(echo.endpoint.as_str())?;
    let reply = remote.process(Message::user("Hello from Rust!")).await?;
    println!("   reply: {}", reply.content.to_plain_text());

    println!("3. Stream from it in Rust");
    let mut words = remote.stream(Message::user("one word at a time"));
    while let Some(word) = words.next().await {
        println!("   chunk: {}", word?.content.to_plain_text());
    }

    println!("4. Start an agent in Rust on another Unix socket");
    let shout = agent_fn("shout", |message: Message| async move {
        let text = message.text().ok_or("expected text")?;
        Ok(Message::agent(text.to_uppercase()))
    });
    let server = LocalAgent::serve(shout, socket("shout.sock")).await?;
    println!("   LocalAgent serves {}", server.endpoint());

    println!("5. Call it from Python");
    let endpoint = server.endpoint().to_string();
    let reply = python::run("call_agent.py", &[&endpoint, "Hello from Python!"]).await?;
    println!("   call_agent.py prints: {reply}");

    // `stop` waits for the calls in flight and removes the socket. The Python agent exits when
    // `echo` is dropped.
    server.stop().await;
    println!("Done.");
    Ok(())
}
