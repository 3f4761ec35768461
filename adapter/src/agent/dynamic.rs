//! Type-erased agents: [`SharedAgent`].

use std::{fmt, future::Future, pin::pin, sync::Arc};

use agentwire_codec::{Map, Message};
use async_stream::stream;
use futures_core::{Stream, future::BoxFuture, stream::BoxStream};
use futures_util::StreamExt;

use super::{Agent, AgentError};
use crate::RequestContext;

type ProcessResult = Result<Message, AgentError>;

/// The dyn-compatible form of [`Agent`], which is implemented for every agent.
pub(crate) trait DynAgent: Send + Sync {
    fn name(&self) -> &str;
    fn process<'a>(
        &'a self,
        message: Message,
        context: RequestContext,
    ) -> BoxFuture<'a, ProcessResult>;
    /// Returns a stream that owns its reference to the agent.
    fn stream(
        self: Arc<Self>,
        message: Message,
        context: RequestContext,
    ) -> BoxStream<'static, ProcessResult>;
    fn capabilities(&self) -> Map;
}

impl<A: Agent> DynAgent for A {
    fn name(&self) -> &str {
        Agent::name(self)
    }

    fn process<'a>(
        &'a self,
        message: Message,
        context: RequestContext,
    ) -> BoxFuture<'a, ProcessResult> {
        Box::pin(Agent::process(self, message, context))
    }

    fn stream(
        self: Arc<Self>,
        message: Message,
        context: RequestContext,
    ) -> BoxStream<'static, ProcessResult> {
        Box::pin(stream! {
            let mut answers = pin!(Agent::stream(&*self, message, context));
            while let Some(answer) = answers.next().await {
                yield answer;
            }
        })
    }

    fn capabilities(&self) -> Map {
        Agent::capabilities(self)
    }
}

/// A type-erased agent that is cheap to clone. Use this type for collections of different agents,
/// or for a field without a type parameter.
///
/// ```
/// use agentwire::{SharedAgent, Message, RemoteAgent, agent_fn};
///
/// let here = agent_fn("here", |message: Message| async move { Ok(message) });
/// let there = RemoteAgent::new("unix:///run/agents/there.sock")?;
/// let agents = [SharedAgent::new(here), SharedAgent::new(there)];
/// # Ok::<(), agentwire::Error>(())
/// ```
#[derive(Clone)]
pub struct SharedAgent(Arc<dyn DynAgent>);

impl SharedAgent {
    /// Creates a type-erased agent.
    #[must_use]
    pub fn new(agent: impl Agent) -> Self {
        Self(Arc::new(agent))
    }

    /// Creates a type-erased agent without a further allocation.
    #[cfg(feature = "tower")]
    pub(crate) fn from_arc(agent: Arc<impl Agent>) -> Self {
        Self(agent)
    }

    pub(crate) fn into_inner(self) -> Arc<dyn DynAgent> {
        self.0
    }
}

impl Agent for SharedAgent {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn process(
        &self,
        message: Message,
        context: RequestContext,
    ) -> impl Future<Output = ProcessResult> + Send {
        self.0.process(message, context)
    }

    fn stream(
        &self,
        message: Message,
        context: RequestContext,
    ) -> impl Stream<Item = ProcessResult> + Send {
        Arc::clone(&self.0).stream(message, context)
    }

    fn capabilities(&self) -> Map {
        self.0.capabilities()
    }
}

impl fmt::Debug for SharedAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SharedAgent").field(&self.0.name()).finish()
    }
}
