//! The interop agent in Rust.

use std::time::Duration;

use agentwire::{Agent, AgentError, Error, LocalAgent, Message, RequestContext};
use futures_core::Stream;
use futures_util::stream;

/// The agents that a test server can serve, in Rust or Python.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentKind {
    /// The interop agent, with the name `interop`.
    Interop,
    /// The interop agent without streaming, with the name `mute`.
    Mute,
}

impl AgentKind {
    /// Returns the kind of agent that a case requires.
    #[must_use]
    pub fn for_case(case: &str) -> Self {
        match case {
            "no_streaming" => Self::Mute,
            _ => Self::Interop,
        }
    }

    /// Serves the Rust implementation of the agent.
    ///
    /// # Errors
    ///
    /// Returns an error if the server cannot listen on the endpoint.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the server is closed.
    pub async fn serve(self, endpoint: &str) -> Result<LocalAgent, Error> {
        match self {
            Self::Interop => serve(InteropAgent, endpoint).await,
            Self::Mute => serve(MuteAgent, endpoint).await,
        }
    }
}

/// Serves an agent to peers that close their sending halves, too.
async fn serve(agent: impl Agent, endpoint: &str) -> Result<LocalAgent, Error> {
    let builder = LocalAgent::builder(agent).half_close(true);
    builder.endpoint(endpoint).serve().await
}

/// The interop agent, whose behaviour is defined in the docstring of `python/serve.py`.
#[derive(Debug)]
struct InteropAgent;

impl Agent for InteropAgent {
    fn name(&self) -> &str {
        "interop"
    }

    async fn process(&self, message: Message, _: RequestContext) -> Result<Message, AgentError> {
        process(message).await
    }

    fn stream(
        &self,
        message: Message,
        _: RequestContext,
    ) -> impl Stream<Item = Result<Message, AgentError>> + Send {
        stream::iter(chunks(message))
    }
}

/// The interop agent without streaming, like `serve.py --no-stream`.
#[derive(Debug)]
struct MuteAgent;

impl Agent for MuteAgent {
    fn name(&self) -> &str {
        "mute"
    }

    async fn process(&self, message: Message, _: RequestContext) -> Result<Message, AgentError> {
        process(message).await
    }
}

async fn process(message: Message) -> Result<Message, AgentError> {
    let behaviour = message
        .metadata
        .get("do")
        .map(|value| value.to_plain_text());
    match behaviour.as_deref() {
        None | Some("echo") => {}
        Some("fail") => {
            let content = message.content.to_plain_text();
            return Err(AgentError::new(format!("deliberate failure: {content}")));
        }
        Some("slow") => {
            tokio::time::sleep(Duration::from_millis(delay_millis(&message)?)).await;
        }
        Some(other) => return Err(AgentError::new(format!("unknown behaviour: {other}"))),
    }
    let mut reply = Message::agent(message.content);
    reply.metadata = message.metadata;
    Ok(reply)
}

/// Returns the delay in milliseconds that the message requests.
pub(crate) fn delay_millis(message: &Message) -> Result<u64, AgentError> {
    Ok(number(message, "ms")?.unwrap_or_default().try_into()?)
}

fn chunks(message: Message) -> impl Iterator<Item = Result<Message, AgentError>> + Send {
    let (count, failure) = match plan(&message) {
        Ok(plan) => plan,
        Err(error) => (0, Some(error)),
    };
    let chunks = (0..count).map(move |i| Ok(chunk(&message, i)));
    chunks.chain(failure.map(Err))
}

/// Returns the number of chunks and, if the stream must fail, the error after the last chunk.
fn plan(message: &Message) -> Result<(i64, Option<AgentError>), AgentError> {
    let count = number(message, "count")?.unwrap_or(3);
    Ok(match number(message, "fail_after")? {
        Some(after) if after <= count => {
            let text = format!("deliberate failure after {after}");
            (after, Some(AgentError::new(text)))
        }
        _ => (count, None),
    })
}

fn chunk(message: &Message, i: i64) -> Message {
    let content = match message.text() {
        Some(text) => format!("{text} #{i}").into(),
        None => message.content.clone(),
    };
    Message::agent(content).with_metadata("i", i)
}

fn number(message: &Message, key: &str) -> Result<Option<i64>, AgentError> {
    let Some(value) = message.metadata.get(key) else {
        return Ok(None);
    };
    // gRPC carries metadata as text.
    let text = value.as_str().and_then(|text| text.parse().ok());
    match value.as_i64().or(text) {
        Some(number) => Ok(Some(number)),
        None => Err(AgentError::new(format!("{key} is not a number: {value}"))),
    }
}
