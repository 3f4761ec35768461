//! Agents, tools, registries and proxies over gRPC.

#![cfg(feature = "grpc")]
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test may stop at the first surprise"
)]

#[cfg(feature = "auth")]
mod auth;
mod calls;
#[allow(dead_code, unused_imports, reason = "this suite uses a part of it")]
#[path = "../it/common/mod.rs"]
mod common;
mod deadlines;
mod hostile;
mod lifecycle;
mod raw;
#[path = "../common/shared_connection.rs"]
mod shared_connection;
#[cfg(feature = "tls")]
mod tls;

use agentwire::{
    AgentError, Endpoint, LocalAgent, LocalAgentBuilder, Map, Message, RemoteAgent,
    RemoteAgentBuilder, RetryPolicy, ToolResult, agent_fn, stream_fn, tool_fn,
};
use futures_util::stream;

/// An agent that repeats its message, one that streams, and a tool.
fn builder() -> LocalAgentBuilder {
    let echo = agent_fn("echo", |message: Message| async move {
        if message.content == "fail" {
            return Err(AgentError::new("deliberate failure"));
        }
        let mut reply = Message::agent(message.content);
        reply.metadata = message.metadata;
        Ok(reply)
    });
    let count = stream_fn("count", |message: Message| {
        let numbers = (1..=3).map(|number| Ok(Message::agent(number)));
        let end = (message.content == "fail").then(|| Err(AgentError::new("out of numbers")));
        stream::iter(numbers.chain(end))
    });
    let add = tool_fn("add", |arguments: Map| async move {
        let number = |name| arguments.get(name).and_then(agentwire::Value::as_i64);
        match (number("a"), number("b")) {
            (Some(a), Some(b)) => Ok(ToolResult::success(a + b)),
            _ => Ok(ToolResult::failure("two numbers are needed")),
        }
    });
    LocalAgent::builder(echo).agent(count).tool(add)
}

async fn serve() -> LocalAgent {
    serve_with(builder()).await
}

async fn serve_with(builder: LocalAgentBuilder) -> LocalAgent {
    let builder = builder.endpoint("grpc://127.0.0.1:0");
    builder.serve().await.expect("serve")
}

/// A client that is never retried.
fn client(endpoint: &Endpoint, name: &str) -> RemoteAgent {
    client_builder(endpoint, name).build().expect("client")
}

fn client_builder(endpoint: &Endpoint, name: &str) -> RemoteAgentBuilder {
    RemoteAgent::builder(endpoint)
        .name(name)
        .retry(RetryPolicy::never())
}
