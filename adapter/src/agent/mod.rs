mod dynamic;
mod error;
mod function;

use std::future::Future;

use agentwire_codec::{Map, Message};
use futures_core::Stream;
use futures_util::stream;

pub(crate) use self::dynamic::DynAgent;
pub use self::{
    dynamic::SharedAgent,
    error::AgentError,
    function::{AgentHandler, FnAgent, agent_fn},
};
use crate::RequestContext;

/// Something that answers messages: the one trait of this library.
///
/// Serve one with [`LocalAgent`](crate::LocalAgent). A [`RemoteAgent`](crate::RemoteAgent) is one, too, so code that
/// takes `impl Agent` does not care where the agent lives. For agents that a closure can express there is
/// [`agent_fn`]; to keep agents of different types together there is [`SharedAgent`].
///
/// Calls run concurrently, on `&self`. A caller that goes away drops the future or the stream that
/// works for it, at any await point.
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
    /// The name that callers and error texts use.
    fn name(&self) -> &str;

    /// Answers one message with one message.
    ///
    /// # Errors
    ///
    /// What the agent fails with. The caller gets its code, its text and its details.
    fn process(
        &self,
        message: Message,
        context: RequestContext,
    ) -> impl Future<Output = Result<Message, AgentError>> + Send;

    /// Answers one message with any number of messages. An error ends the stream.
    ///
    /// The next item is asked for when the caller has room for it. By default the stream is one
    /// error that says that this agent does not stream.
    fn stream(
        &self,
        message: Message,
        context: RequestContext,
    ) -> impl Stream<Item = Result<Message, AgentError>> + Send {
        drop((message, context));
        stream::iter([Err(AgentError::no_streaming(self.name()))])
    }

    /// What the agent can do, for a registry to tell others. Empty by default.
    fn capabilities(&self) -> Map {
        Map::new()
    }
}
