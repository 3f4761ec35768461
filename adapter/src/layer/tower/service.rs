//! An agent as a service of tower: [`AgentService`].

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use agentwire_codec::ErrorCode;
use futures_core::future::BoxFuture;
use tower_service::Service;

use super::exchange::{BoxError, Payload, Reply, Request};
use crate::{Agent, AgentError, agent::DynAgent};

/// An agent as a [`Service`] of tower. Clones share the agent.
///
/// The service is always ready. Its error is an [`AgentError`] in a box, so that layers of tower
/// accept it.
pub struct AgentService<A>(Arc<A>);

impl<A: Agent> AgentService<A> {
    /// Creates a service that asks `agent`.
    #[must_use]
    pub fn new(agent: A) -> Self {
        Self(Arc::new(agent))
    }
}

impl<A: Agent> Service<Request> for AgentService<A> {
    type Response = Reply;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Reply, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let agent: Arc<dyn DynAgent> = Arc::clone(&self.0) as _;
        ask(agent, request)
    }
}

/// Passes a request to an agent.
pub(super) fn ask(
    agent: Arc<dyn DynAgent>,
    request: Request,
) -> BoxFuture<'static, Result<Reply, BoxError>> {
    let Request {
        payload, context, ..
    } = request;
    Box::pin(async move {
        match payload {
            Payload::Process(message) => {
                let answer = agent.process(message, context).await;
                answer.map(Reply::Message).map_err(AgentError::into_boxed)
            }
            Payload::Stream(message) => Ok(Reply::Stream(agent.stream(message, context))),
            Payload::Execute(_) => {
                let text = format!("agent {:?} is not a tool", agent.name());
                let error = AgentError::with_code(ErrorCode::TOOL_NOT_FOUND, text);
                Err(error.into_boxed())
            }
        }
    })
}

impl<A> Clone for AgentService<A> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<A: Agent> fmt::Debug for AgentService<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AgentService")
            .field(&Agent::name(&*self.0))
            .finish()
    }
}
