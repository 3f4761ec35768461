//! Serves one agent on five doors, and calls it through each of them, from Rust and from Python.
//!
//! Python calls through all doors if the package agenkit is installed (`pip install agenkit`, Python
//! 3.12 or later), and otherwise through those that its standard library can open.
//!
//! ```text
//! cargo run --example five_doors --features doors
//! ```

#[allow(dead_code, reason = "this example starts no agent in Python")]
mod python;

use std::error::Error;

use agentwire::{Agent, AgentError, LocalAgent, Message, RemoteAgent, RequestContext};
use futures_core::Stream;
use futures_util::{StreamExt, stream};

/// An agent that answers in capitals, as a whole or word by word.
struct Shout;

impl Agent for Shout {
    fn name(&self) -> &str {
        "shout"
    }

    async fn process(&self, message: Message, _: RequestContext) -> Result<Message, AgentError> {
        let text = message.text().unwrap_or_default();
        Ok(Message::agent(text.to_uppercase()))
    }

    fn stream(
        &self,
        message: Message,
        _: RequestContext,
    ) -> impl Stream<Item = Result<Message, AgentError>> + Send {
        let text = message.text().unwrap_or_default().to_uppercase();
        let words: Vec<_> = text.split(' ').map(str::to_owned).collect();
        stream::iter(words).map(|word| Ok(Message::agent(word)))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let socket = directory.path().join("shout.sock");

    println!("1. One agent listens on five doors:");
    let server = LocalAgent::builder(Shout)
        .endpoint(format!("unix://{}", socket.display()))
        .endpoint("tcp://127.0.0.1:0")
        .endpoint("ws://127.0.0.1:0")
        .endpoint("http://127.0.0.1:0")
        .endpoint("grpc://127.0.0.1:0")
        .serve()
        .await?;
    let endpoints: Vec<String> = server.endpoints().iter().map(ToString::to_string).collect();
    for endpoint in &endpoints {
        println!("   {endpoint}");
    }

    println!("2. Rust calls and streams through each door:");
    for endpoint in &endpoints {
        let (scheme, _) = endpoint.split_once("://").unwrap_or_default();
        let remote = RemoteAgent::new(endpoint)?;
        let text = format!("hello through {scheme}");
        let reply = remote.process(Message::user(&*text)).await?;
        let chunks: Vec<_> = remote.stream(Message::user(text)).collect().await;
        let chunks: Vec<Message> = chunks.into_iter().collect::<Result<_, _>>()?;
        let reply = reply.text().unwrap_or_default();
        println!("   {scheme}: {reply} ({} chunks)", chunks.len());
    }

    println!("3. Python calls and streams through each door:");
    let arguments: Vec<&str> = endpoints.iter().map(String::as_str).collect();
    for line in python::run("call_doors.py", &arguments).await?.lines() {
        println!("   {line}");
    }

    println!("4. Stopping closes all doors:");
    server.stop().await;
    for endpoint in &endpoints {
        let (scheme, _) = endpoint.split_once("://").unwrap_or_default();
        let refused = RemoteAgent::new(endpoint)?
            .process(Message::user("?"))
            .await;
        let is_closed = refused.is_err_and(|error| error.is_connect());
        println!("   {scheme}: {}", if is_closed { "closed" } else { "open" });
    }
    println!("Done.");
    Ok(())
}
