//! The trait [`Agent`], agents that are created from closures, and the error type of agents.

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
use crate::{
    RequestContext,
    layer::{Layer, Layered},
};

/// A type that answers messages. `Agent` is the central trait of the library.
///
/// Use [`LocalAgent`](crate::LocalAgent) to serve an agent. A [`RemoteAgent`](crate::RemoteAgent)
/// is also an agent, so code that takes `impl Agent` works with local and remote agents.
/// [`agent_fn`] and [`stream_fn`] create agents from closures. [`SharedAgent`] erases the type of
/// an agent.
///
/// Calls run concurrently on `&self`. If the caller disconnects, the future or stream of the call
/// is dropped, which can happen at any await point.
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
    /// Returns the name by which callers address the agent.
    fn name(&self) -> &str;

    /// Answers one message with one message.
    ///
    /// # Errors
    ///
    /// Returns an [`AgentError`] if the agent fails. The caller receives the code, text and details
    /// of the error.
    fn process(
        &self,
        message: Message,
        context: RequestContext,
    ) -> impl Future<Output = Result<Message, AgentError>> + Send;

    /// Answers one message with any number of messages. The stream ends after the first error.
    ///
    /// The stream is polled only when the caller can receive the next message. The default
    /// implementation returns an error that reports that the agent does not support streaming.
    ///
    /// ```
    /// use agentwire::{Agent, AgentError, Message, RequestContext};
    /// use futures_util::{Stream, stream};
    ///
    /// struct Words;
    ///
    /// impl Agent for Words {
    ///     fn name(&self) -> &str {
    ///         "words"
    ///     }
    ///
    ///     async fn process(&self, message: Message, _: RequestContext) -> Result<Message, AgentError> {
    ///         Ok(message)
    ///     }
    ///
    ///     fn stream(
    ///         &self,
    ///         message: Message,
    ///         _: RequestContext,
    ///     ) -> impl Stream<Item = Result<Message, AgentError>> + Send {
    ///         let text = message.text().unwrap_or_default();
    ///         let words: Vec<_> = text.split(' ').map(|word| Ok(Message::agent(word))).collect();
    ///         stream::iter(words)
    ///     }
    /// }
    /// ```
    fn stream(
        &self,
        message: Message,
        context: RequestContext,
    ) -> impl Stream<Item = Result<Message, AgentError>> + Send {
        drop((message, context));
        stream::iter([Err(AgentError::no_streaming(self.name()))])
    }

    /// Returns the capabilities of the agent. Clients can search a registry for agents with certain
    /// capabilities. The default implementation returns an empty map.
    fn capabilities(&self) -> Map {
        Map::new()
    }

    /// Wraps the agent in a [layer](crate::layer), which becomes the outermost.
    fn layer<L: Layer>(self, layer: L) -> Layered<Self, L>
    where
        Self: Sized,
    {
        Layered::new(self, layer)
    }
}
