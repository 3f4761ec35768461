//! Agents that are created from closures.

use std::{fmt, future::Future, marker::PhantomData};

use agentwire_codec::{Map, Message};

use super::{Agent, AgentError};
use crate::RequestContext;

/// Creates an agent from a closure that takes a [`Message`], or a [`Message`] and a
/// [`RequestContext`].
///
/// ```
/// use agentwire::{Agent, Message, RequestContext, agent_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let echo = agent_fn("echo", |message: Message| async move { Ok(Message::agent(message.content)) });
/// let reply = echo.process(Message::user("hello"), RequestContext::new()).await?;
/// assert_eq!(reply.text(), Some("hello"));
///
/// let peer = agent_fn("peer", |_: Message, context: RequestContext| async move {
///     Ok(Message::agent(context.peer().to_string()))
/// });
/// # let _ = peer;
/// # Ok(())
/// # }
/// ```
///
/// The closure must specify the types of its parameters, because the types select one of the two
/// forms.
pub fn agent_fn<F, Args>(name: impl Into<String>, process: F) -> FnAgent<F, Args>
where
    F: AgentHandler<Args>,
{
    FnAgent {
        name: name.into(),
        process,
        capabilities: Map::new(),
        args: PhantomData,
    }
}

/// An agent that [`agent_fn`] creates from a closure.
pub struct FnAgent<F, Args> {
    name: String,
    process: F,
    capabilities: Map,
    args: PhantomData<fn(Args)>,
}

impl<F, Args> FnAgent<F, Args> {
    /// Sets the capabilities of the agent, which are published in a registry.
    ///
    /// ```
    /// use agentwire::{Agent, Message, agent_fn, map};
    ///
    /// let echo = agent_fn("echo", |message: Message| async move { Ok(message) })
    ///     .with_capabilities(map! {"languages": ["en", "ja"]});
    /// assert_eq!(echo.capabilities()["languages"][1], "ja");
    /// ```
    #[must_use]
    pub fn with_capabilities(mut self, capabilities: Map) -> Self {
        self.capabilities = capabilities;
        self
    }
}

impl<F, Args> Agent for FnAgent<F, Args>
where
    F: AgentHandler<Args>,
    Args: 'static,
{
    fn name(&self) -> &str {
        &self.name
    }

    fn process(
        &self,
        message: Message,
        context: RequestContext,
    ) -> impl Future<Output = Result<Message, AgentError>> + Send {
        self.process.call(message, context)
    }

    fn capabilities(&self) -> Map {
        self.capabilities.clone()
    }
}

/// A closure that [`agent_fn`] accepts, which is a `Fn(Message)` or `Fn(Message, RequestContext)`.
/// The closure returns a future of `Result<Message, AgentError>`.
///
/// The type parameter `Args` is the tuple of the closure's parameters. `Args` distinguishes
/// closures with and without a context.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an agent",
    label = "not a closure that `agent_fn` accepts",
    note = "it must be `Fn(Message) -> impl Future<Output = Result<Message, AgentError>> + Send`, or take `(Message, RequestContext)`",
    note = "write the types of its parameters: `|message: Message|` or `|message: Message, context: RequestContext|`"
)]
pub trait AgentHandler<Args>: Send + Sync + 'static {
    /// Calls the closure.
    fn call(
        &self,
        message: Message,
        context: RequestContext,
    ) -> impl Future<Output = Result<Message, AgentError>> + Send;
}

impl<F, R> AgentHandler<(Message,)> for F
where
    F: Fn(Message) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Message, AgentError>> + Send,
{
    fn call(
        &self,
        message: Message,
        _: RequestContext,
    ) -> impl Future<Output = Result<Message, AgentError>> + Send {
        self(message)
    }
}

impl<F, R> AgentHandler<(Message, RequestContext)> for F
where
    F: Fn(Message, RequestContext) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Message, AgentError>> + Send,
{
    fn call(
        &self,
        message: Message,
        context: RequestContext,
    ) -> impl Future<Output = Result<Message, AgentError>> + Send {
        self(message, context)
    }
}

impl<F: Clone, Args> Clone for FnAgent<F, Args> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            process: self.process.clone(),
            capabilities: self.capabilities.clone(),
            args: PhantomData,
        }
    }
}

impl<F, Args> fmt::Debug for FnAgent<F, Args> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FnAgent")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
