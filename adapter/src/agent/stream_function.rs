//! Agents that are created from closures that return streams.

use std::{fmt, future::Future, marker::PhantomData};

use agentwire_codec::{Map, Message};
use futures_core::Stream;

use super::{Agent, AgentError};
use crate::RequestContext;

/// Creates an agent from a closure that returns a stream of messages. As with
/// [`agent_fn`](super::agent_fn), the closure takes a [`Message`], or a [`Message`] and a
/// [`RequestContext`].
///
/// The agent supports only [`stream`](Agent::stream). Calling [`process`](Agent::process) returns
/// an error.
///
/// ```
/// use agentwire::{LocalAgent, Message, RemoteAgent, stream_fn};
/// use futures_util::stream;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> agentwire::Result<()> {
/// let count = stream_fn("count", |_: Message| stream::iter((1..=3).map(|i| Ok(Message::agent(i)))));
/// let _server = LocalAgent::serve(count, "memory://stream-fn").await?;
///
/// let mut numbers = RemoteAgent::new("memory://stream-fn")?.stream(Message::user("go"));
/// while let Some(number) = numbers.next().await {
///     println!("{}", number?.content);
/// }
/// # Ok(())
/// # }
/// ```
pub fn stream_fn<F, Args>(name: impl Into<String>, stream: F) -> StreamFnAgent<F, Args>
where
    F: StreamHandler<Args>,
{
    StreamFnAgent {
        name: name.into(),
        stream,
        capabilities: Map::new(),
        args: PhantomData,
    }
}

/// An agent that [`stream_fn`] creates from a closure.
pub struct StreamFnAgent<F, Args> {
    name: String,
    stream: F,
    capabilities: Map,
    args: PhantomData<fn(Args)>,
}

impl<F, Args> StreamFnAgent<F, Args> {
    /// Sets the capabilities of the agent, which are published in a registry.
    #[must_use]
    pub fn with_capabilities(mut self, capabilities: Map) -> Self {
        self.capabilities = capabilities;
        self
    }
}

impl<F, Args> Agent for StreamFnAgent<F, Args>
where
    F: StreamHandler<Args>,
    Args: 'static,
{
    fn name(&self) -> &str {
        &self.name
    }

    fn process(
        &self,
        _: Message,
        _: RequestContext,
    ) -> impl Future<Output = Result<Message, AgentError>> + Send {
        let text = format!("{} supports only streaming", self.name);
        std::future::ready(Err(AgentError::new(text)))
    }

    fn stream(
        &self,
        message: Message,
        context: RequestContext,
    ) -> impl Stream<Item = Result<Message, AgentError>> + Send {
        self.stream.call(message, context)
    }

    fn capabilities(&self) -> Map {
        self.capabilities.clone()
    }
}

/// A closure that [`stream_fn`] accepts, which is a `Fn(Message)` or `Fn(Message, RequestContext)`.
/// The closure returns a stream of `Result<Message, AgentError>`.
///
/// The type parameter `Args` is the tuple of the closure's parameters. `Args` distinguishes
/// closures with and without a context.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a streaming agent",
    label = "not a closure that `stream_fn` accepts",
    note = "it must be `Fn(Message) -> impl Stream<Item = Result<Message, AgentError>> + Send`, or take `(Message, RequestContext)`",
    note = "write the types of its parameters: `|message: Message|` or `|message: Message, context: RequestContext|`"
)]
pub trait StreamHandler<Args>: Send + Sync + 'static {
    /// Calls the closure.
    fn call(
        &self,
        message: Message,
        context: RequestContext,
    ) -> impl Stream<Item = Result<Message, AgentError>> + Send;
}

impl<F, S> StreamHandler<(Message,)> for F
where
    F: Fn(Message) -> S + Send + Sync + 'static,
    S: Stream<Item = Result<Message, AgentError>> + Send,
{
    fn call(
        &self,
        message: Message,
        _: RequestContext,
    ) -> impl Stream<Item = Result<Message, AgentError>> + Send {
        self(message)
    }
}

impl<F, S> StreamHandler<(Message, RequestContext)> for F
where
    F: Fn(Message, RequestContext) -> S + Send + Sync + 'static,
    S: Stream<Item = Result<Message, AgentError>> + Send,
{
    fn call(
        &self,
        message: Message,
        context: RequestContext,
    ) -> impl Stream<Item = Result<Message, AgentError>> + Send {
        self(message, context)
    }
}

impl<F: Clone, Args> Clone for StreamFnAgent<F, Args> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            stream: self.stream.clone(),
            capabilities: self.capabilities.clone(),
            args: PhantomData,
        }
    }
}

impl<F, Args> fmt::Debug for StreamFnAgent<F, Args> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamFnAgent")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
