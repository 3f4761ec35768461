//! Servers with known principals, and a sink that keeps its events.

use std::sync::{Arc, Mutex};

use agentwire::{
    Bearer, FixedEndpoint, LocalAgent, Message, Principal, RemoteAgent, RemoteAgentBuilder,
    RequestContext, ToolResult, agent_fn,
    auth::{Audit, AuditEvent, AuditKind, NotRecorded, Security, TokenDigest, Tokens},
    map, stream_fn, tool_fn,
};
use futures_util::stream;

/// A sink that keeps all events.
#[derive(Debug, Clone, Default)]
pub(crate) struct Events(Arc<Mutex<Vec<AuditEvent>>>);

impl Audit for Events {
    async fn record(&self, event: AuditEvent) -> Result<(), NotRecorded> {
        self.0.lock().unwrap().push(event);
        Ok(())
    }
}

impl Events {
    /// Takes all events so far.
    pub(crate) fn take(&self) -> Vec<AuditEvent> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    /// Returns the reasons of the denied events of a kind.
    pub(crate) fn denied(&self, kind: AuditKind) -> Vec<String> {
        let events = self.0.lock().unwrap();
        let denied = events
            .iter()
            .filter(|event| event.kind == kind && !event.is_allowed);
        denied
            .map(|event| event.reason.clone().unwrap_or_default())
            .collect()
    }
}

/// The token of a principal in tests.
pub(crate) fn token(name: &str) -> String {
    format!("the secret token of {name}")
}

/// Principals that are authenticated by their [`token`].
pub(crate) fn tokens(principals: impl IntoIterator<Item = Principal>) -> Tokens {
    principals
        .into_iter()
        .fold(Tokens::new(), |tokens, principal| {
            tokens.allow(TokenDigest::of(&token(principal.name())), principal)
        })
}

pub(crate) fn bearer(name: &str) -> Bearer {
    Bearer::new(token(name))
}

/// Starts a server that answers calls, streams and tools with what it knows about the caller.
pub(crate) async fn serve(security: Security, endpoint: &str) -> LocalAgent {
    let answer = |message: &Message, context: &RequestContext| {
        let principal = context
            .principal()
            .map(|principal| principal.name().to_owned());
        Message::agent(map! {
            "principal": (principal.unwrap_or_default()),
            "metadata": (message.metadata.clone()),
        })
    };
    let agent = agent_fn(
        "weather",
        move |message: Message, context: RequestContext| {
            let reply = answer(&message, &context);
            async move { Ok(reply) }
        },
    );
    let streaming = stream_fn("clock", move |message: Message, context: RequestContext| {
        stream::iter([Ok(answer(&message, &context))])
    });
    let tool = tool_fn(
        "forecast",
        |_: agentwire::Map, context: RequestContext| async move {
            let name = context
                .principal()
                .map(|principal| principal.name().to_owned());
            Ok(ToolResult::success(name.unwrap_or_default()))
        },
    );
    LocalAgent::builder(agent)
        .agent(streaming)
        .tool(tool)
        .endpoint(endpoint)
        .security(security)
        .serve()
        .await
        .unwrap()
}

/// Returns the builder of a client for the agent `weather`.
pub(crate) fn client(server: &LocalAgent) -> RemoteAgentBuilder<FixedEndpoint> {
    RemoteAgent::builder(server.endpoint()).name("weather")
}

/// Returns an endpoint of each carrier.
pub(crate) fn endpoints(name: &str) -> Vec<String> {
    let mut endpoints = vec![
        format!("memory://auth-{name}"),
        "tcp://127.0.0.1:0".to_owned(),
    ];
    for (is_built, endpoint) in [
        (cfg!(feature = "websocket"), "ws://127.0.0.1:0"),
        (cfg!(feature = "http"), "http://127.0.0.1:0"),
        (cfg!(feature = "http"), "h2c://127.0.0.1:0"),
        (cfg!(feature = "grpc"), "grpc://127.0.0.1:0"),
    ] {
        if is_built {
            endpoints.push(endpoint.to_owned());
        }
    }
    endpoints
}
