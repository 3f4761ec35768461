//! An agent whose behaviour the test chooses with each message.

use std::time::Duration;

use agentwire::{Agent, AgentError, Map, Message, RequestContext};
use futures_core::Stream;
use futures_util::stream;

/// An agent that obeys the metadata of its messages: `do` is `fail`, `panic`, `slow` or `hang`, and
/// without it the agent echoes the message. It streams `count` chunks, with an error after
/// `fail_after` of them.
pub(crate) struct ScriptedAgent;

impl Agent for ScriptedAgent {
    fn name(&self) -> &str {
        "scripted"
    }

    async fn process(&self, message: Message, _: RequestContext) -> Result<Message, AgentError> {
        match message.metadata.get("do").and_then(|value| value.as_str()) {
            Some("fail") => Err(AgentError::with_code("OUT_OF_STOCK", "out of stock")
                .with_details(Map::from([("missing", 3)]))),
            Some("panic") => panic!("the agent panicked"),
            Some("slow") => {
                tokio::time::sleep(Duration::from_secs(10)).await;
                Ok(message)
            }
            Some("hang") => std::future::pending().await,
            _ => {
                let mut reply = Message::agent(message.content);
                reply.metadata = message.metadata;
                Ok(reply)
            }
        }
    }

    fn stream(
        &self,
        message: Message,
        _: RequestContext,
    ) -> impl Stream<Item = Result<Message, AgentError>> + Send {
        let number = |key: &str| message.metadata.get(key).and_then(|value| value.as_u64());
        let (count, fail_after) = (number("count").unwrap_or(3), number("fail_after"));
        let content = message.content;
        let chunks = (0..count).map(move |i| match fail_after {
            Some(after) if after <= i => Err(AgentError::new(format!("failed after {after}"))),
            _ => Ok(Message::agent(content.clone()).with_metadata("i", i)),
        });
        stream::iter(chunks)
    }
}
