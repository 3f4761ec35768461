//! An agent or a tool with a layer around it: [`Layered`].

use std::{future::Future, sync::Arc};

use agentwire_codec::{Map, Message, ToolResult};
use futures_core::Stream;

use super::Layer;
use crate::{
    RequestContext,
    agent::{Agent, AgentError},
    tool::Tool,
};

/// An agent or a tool with a layer around it, returned by [`Agent::layer`] and [`Tool::layer`].
///
/// The name, the description and the capabilities are those of the wrapped agent or tool. Clones
/// share the agent, and share the state of the layer if its clones do.
#[derive(Debug)]
pub struct Layered<T, L> {
    inner: Arc<T>,
    layer: L,
}

impl<T, L> Layered<T, L> {
    pub(crate) fn new(inner: T, layer: L) -> Self {
        Self {
            inner: Arc::new(inner),
            layer,
        }
    }

    /// Returns the wrapped agent or tool.
    #[must_use]
    pub fn inner(&self) -> &T {
        &self.inner
    }
}

impl<T, L: Clone> Clone for Layered<T, L> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            layer: self.layer.clone(),
        }
    }
}

impl<A: Agent, L: Layer> Agent for Layered<A, L> {
    fn name(&self) -> &str {
        (*self.inner).name()
    }

    fn process(
        &self,
        message: Message,
        context: RequestContext,
    ) -> impl Future<Output = Result<Message, AgentError>> + Send {
        self.layer.process(message, context, &self.inner)
    }

    fn stream(
        &self,
        message: Message,
        context: RequestContext,
    ) -> impl Stream<Item = Result<Message, AgentError>> + Send {
        self.layer.stream(message, context, &self.inner)
    }

    fn capabilities(&self) -> Map {
        (*self.inner).capabilities()
    }
}

impl<T: Tool, L: Layer> Tool for Layered<T, L> {
    fn name(&self) -> &str {
        (*self.inner).name()
    }

    fn description(&self) -> &str {
        (*self.inner).description()
    }

    fn parameters(&self) -> Map {
        (*self.inner).parameters()
    }

    fn execute(
        &self,
        kwargs: Map,
        context: RequestContext,
    ) -> impl Future<Output = Result<ToolResult, AgentError>> + Send {
        self.layer.execute(kwargs, context, &self.inner)
    }
}
