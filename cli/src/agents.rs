//! The built-in agents of `serve`: echo, slow, fail and count.

use std::{str::FromStr, time::Duration};

use agentwire::{Agent, AgentError, Map, Message, RequestContext};
use futures_core::Stream;
use futures_util::stream::{self, StreamExt};

/// An agent that `serve` can run.
#[derive(Debug)]
pub(crate) struct BuiltIn {
    name: String,
    kind: AgentKind,
    capabilities: Map,
}

/// The behaviour of a built-in agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AgentKind {
    /// Replies with the content and metadata of the request.
    Echo,
    /// Replies like `Echo`, but after a delay.
    Slow(Duration),
    /// Fails every call.
    Fail,
    /// Streams the given number of chunks. Replies like `Echo` to calls that do not stream.
    Count(u64),
}

impl BuiltIn {
    /// Creates an agent of this kind. The default name is the name of the kind.
    pub(crate) fn new(kind: AgentKind, name: Option<String>) -> Self {
        let name = name.unwrap_or_else(|| kind.name().to_owned());
        Self {
            name,
            kind,
            capabilities: Map::new(),
        }
    }

    /// Sets the capabilities that the agent publishes.
    pub(crate) fn with_capabilities(mut self, capabilities: Map) -> Self {
        self.capabilities = capabilities;
        self
    }
}

impl Agent for BuiltIn {
    fn name(&self) -> &str {
        &self.name
    }

    fn capabilities(&self) -> Map {
        self.capabilities.clone()
    }

    async fn process(&self, message: Message, _: RequestContext) -> Result<Message, AgentError> {
        match self.kind {
            AgentKind::Echo | AgentKind::Count(_) => Ok(echo(message)),
            AgentKind::Slow(delay) => {
                tokio::time::sleep(delay).await;
                Ok(echo(message))
            }
            AgentKind::Fail => Err(AgentError::new("this agent fails every call")),
        }
    }

    fn stream(
        &self,
        message: Message,
        context: RequestContext,
    ) -> impl Stream<Item = Result<Message, AgentError>> + Send {
        match self.kind {
            AgentKind::Count(chunks) => {
                let text = text_of(&message);
                let chunk = move |i| Message::agent(format!("{text} #{i}")).with_metadata("i", i);
                stream::iter((0..chunks).map(move |i| Ok(chunk(i)))).left_stream()
            }
            _ => stream::once(self.process(message, context)).right_stream(),
        }
    }
}

fn echo(message: Message) -> Message {
    let mut reply = Message::agent(message.content);
    reply.metadata = message.metadata;
    reply
}

/// Returns the content of a message. Text is returned unchanged, and any other value as JSON.
fn text_of(message: &Message) -> String {
    match message.text() {
        Some(text) => text.to_owned(),
        None => message.content.to_string(),
    }
}

impl AgentKind {
    fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Slow(_) => "slow",
            Self::Fail => "fail",
            Self::Count(_) => "count",
        }
    }
}

impl FromStr for AgentKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, argument) = match text.split_once(':') {
            Some((kind, argument)) => (kind, Some(argument)),
            None => (text, None),
        };
        match (kind, argument) {
            ("echo", None) => Ok(Self::Echo),
            ("slow", Some(millis)) => Ok(Self::Slow(Duration::from_millis(number(text, millis)?))),
            ("fail", None) => Ok(Self::Fail),
            ("count", Some(chunks)) => Ok(Self::Count(number(text, chunks)?)),
            _ => Err(format!(
                "unknown agent {text:?}; use echo, slow:MS, fail or count:N"
            )),
        }
    }
}

fn number(agent: &str, digits: &str) -> Result<u64, String> {
    digits
        .parse()
        .map_err(|error| format!("{agent:?}: {digits:?} is not a valid number: {error}"))
}

#[cfg(test)]
mod tests {
    use agentwire::Value;

    use super::*;

    #[test]
    fn the_four_agents_are_parsed() {
        for (text, kind) in [
            ("echo", AgentKind::Echo),
            ("slow:250", AgentKind::Slow(Duration::from_millis(250))),
            ("slow:0", AgentKind::Slow(Duration::ZERO)),
            ("fail", AgentKind::Fail),
            ("count:3", AgentKind::Count(3)),
        ] {
            assert_eq!(text.parse(), Ok(kind));
            assert!(text.starts_with(kind.name()));
        }
    }

    #[test]
    fn unknown_agents_are_rejected() {
        for text in [
            "", "Echo", "echo:1", "slow", "slow:", "slow:1s", "fail:", "count", "count:-1",
        ] {
            assert!(text.parse::<AgentKind>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_echo_keeps_content_and_metadata_and_has_the_role_agent() {
        let reply = echo(Message::user(7).with_metadata("k", Value::Null));
        assert_eq!(reply.role, "agent");
        assert_eq!(reply.content, Value::from(7));
        assert_eq!(reply.metadata, Map::from([("k", Value::Null)]));
    }

    #[test]
    fn chunks_are_numbered_from_zero_and_content_other_than_text_is_json() {
        let agent = BuiltIn::new(AgentKind::Count(2), None);
        let contents = |content: Value| {
            let chunks = agent.stream(Message::user(content), RequestContext::new());
            let chunks = futures_util::FutureExt::now_or_never(chunks.collect::<Vec<_>>());
            let chunks = chunks.expect("the stream never waits");
            chunks
                .into_iter()
                .map(|chunk| chunk.expect("a chunk").content.to_plain_text())
                .collect::<Vec<_>>()
        };
        assert_eq!(contents("a".into()), ["a #0", "a #1"]);
        assert_eq!(
            contents(Value::from_iter([Value::Null])),
            ["[null] #0", "[null] #1"]
        );
    }
}
