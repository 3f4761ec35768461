//! The trait [`Agent`], agents made of closures, and the error of agents.

mod dynamic;
mod error;
mod function;
mod pointer;
mod stream_function;

use std::future::Future;

use agentwire_codec::{Map, Message};
use futures_core::Stream;
use futures_util::stream;

pub(crate) use self::dynamic::DynAgent;
pub use self::{
    dynamic::SharedAgent,
    error::AgentError,
    function::{AgentHandler, FnAgent, agent_fn},
    stream_function::{StreamFnAgent, StreamHandler, stream_fn},
};
use crate::RequestContext;

/// Answers messages. This is the central trait of the library.
///
/// Serve an agent with [`LocalAgent`](crate::LocalAgent). A [`RemoteAgent`](crate::RemoteAgent) is an
/// agent, too, so code that takes `impl Agent` does not depend on where the agent runs. [`agent_fn`]
/// and [`stream_fn`] make agents of closures; [`SharedAgent`] hides the type of an agent.
///
/// Calls run concurrently, on `&self`. If the caller disconnects, the future or the stream of its
/// call is dropped, at whichever await point it is.
///
/// ```
/// use agentwire::{Agent, AgentError, Message, RequestContext};
///
/// struct Shout;
///
/// impl Agent for Shout {
///     fn name(&self) -> &str {
///         "shout"
///     }
///
///     async fn process(&self, message: Message, _: RequestContext) -> Result<Message, AgentError> {
///         let text = message.text().ok_or_else(|| AgentError::new("I can only shout text"))?;
///         Ok(Message::agent(text.to_uppercase()))
///     }
/// }
/// ```
pub trait Agent: Send + Sync + 'static {
    /// Returns the name that callers and error texts use.
    fn name(&self) -> &str;

    /// Answers one message with one message.
    ///
    /// # Errors
    ///
    /// Any failure of the agent. The caller receives its code, text and details.
    fn process(
        &self,
        message: Message,
        context: RequestContext,
    ) -> impl Future<Output = Result<Message, AgentError>> + Send;

    /// Answers one message with any number of messages. An error ends the stream.
    ///
    /// The stream is polled for its next item only when the caller can take it. The default
    /// implementation returns a single error, which says that the agent does not stream.
    fn stream(
        &self,
        message: Message,
        context: RequestContext,
    ) -> impl Stream<Item = Result<Message, AgentError>> + Send {
        drop((message, context));
        stream::iter([Err(AgentError::no_streaming(self.name()))])
    }

    /// Returns what the agent can do, for clients that search a registry. Empty by default.
    fn capabilities(&self) -> Map {
        Map::new()
    }
}
