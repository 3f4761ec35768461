//! Implementations of [`Agent`] for shared and boxed agents.

use std::{future::Future, sync::Arc};

use agentwire_codec::{Map, Message};
use futures_core::Stream;

use super::{Agent, AgentError};
use crate::RequestContext;

impl<A: Agent> Agent for Arc<A> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn process(
        &self,
        message: Message,
        context: RequestContext,
    ) -> impl Future<Output = Result<Message, AgentError>> + Send {
        (**self).process(message, context)
    }

    fn stream(
        &self,
        message: Message,
        context: RequestContext,
    ) -> impl Stream<Item = Result<Message, AgentError>> + Send {
        (**self).stream(message, context)
    }

    fn capabilities(&self) -> Map {
        (**self).capabilities()
    }
}

impl<A: Agent> Agent for Box<A> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn process(
        &self,
        message: Message,
        context: RequestContext,
    ) -> impl Future<Output = Result<Message, AgentError>> + Send {
        (**self).process(message, context)
    }

    fn stream(
        &self,
        message: Message,
        context: RequestContext,
    ) -> impl Stream<Item = Result<Message, AgentError>> + Send {
        (**self).stream(message, context)
    }

    fn capabilities(&self) -> Map {
        (**self).capabilities()
    }
}
