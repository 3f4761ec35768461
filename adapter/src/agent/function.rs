use std::{fmt, future::Future};

use agentwire_codec::Message;

use super::{Agent, AgentError};

/// Makes an agent of a closure.
///
/// ```
/// use agentwire::{Agent, Message, agent_fn};
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let echo = agent_fn("echo", |message: Message| async move { Ok(Message::agent(message.content)) });
/// let reply = echo.process(Message::user("hello")).await?;
/// assert_eq!(reply.text(), Some("hello"));
/// # Ok::<(), agentwire::AgentError>(())
/// # }).map_err(|error| error.to_string())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn agent_fn<F, R>(name: impl Into<String>, process: F) -> FnAgent<F>
where
    F: Fn(Message) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Message, AgentError>> + Send,
{
    FnAgent {
        name: name.into(),
        process,
    }
}

/// An agent made of a closure by [`agent_fn`].
#[derive(Clone)]
pub struct FnAgent<F> {
    name: String,
    process: F,
}

impl<F, R> Agent for FnAgent<F>
where
    F: Fn(Message) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Message, AgentError>> + Send,
{
    fn name(&self) -> &str {
        &self.name
    }

    async fn process(&self, message: Message) -> Result<Message, AgentError> {
        (self.process)(message).await
    }
}

impl<F> fmt::Debug for FnAgent<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FnAgent")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
