//! An agent that replies only to one user: `cargo run --example allow_uid UID`
//!
//! The kernel reports the user of the peer of a Unix socket, so callers cannot forge their user.

use std::error::Error;

use agentwire::{AgentError, LocalAgent, Message, RemoteAgent, RequestContext, agent_fn};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let argument = std::env::args().nth(1);
    let allowed: u32 = argument.ok_or("usage: allow_uid UID")?.parse()?;

    let vault = agent_fn(
        "vault",
        move |_: Message, context: RequestContext| async move {
            match context.peer().credentials() {
                Some(caller) if caller.uid == allowed => Ok(Message::agent("the code is 4711")),
                _ => Err(AgentError::with_code("FORBIDDEN", "you may not ask")),
            }
        },
    );
    let directory = tempfile::tempdir()?;
    let socket = directory.path().join("vault.sock");
    let server = LocalAgent::serve(vault, socket).await?;

    // The caller is the user who runs this program.
    let remote = RemoteAgent::new(server.endpoint())?;
    match remote.process(Message::user("What is the code?")).await {
        Ok(reply) => println!("reply: {}", reply.content),
        Err(error) => println!("refused: {}", error.code()),
    }
    server.stop().await;
    Ok(())
}
