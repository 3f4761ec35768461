//! A layer of tower as a layer of agents: [`TowerLayer`].

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use agentwire_codec::{Map, Message, ToolResult};
use agentwire_transport::internal::Mutex;
use async_stream::stream;
use futures_core::{Stream, future::BoxFuture};
use futures_util::StreamExt;
use tower_service::Service;

use super::{
    exchange::{BoxError, MapError, Next, Payload, Reply, Request, call},
    service::ask,
};
use crate::{
    AgentError, RequestContext,
    agent::{Agent, SharedAgent},
    layer::Layer,
    tool::{SharedTool, Tool},
};

/// A layer of tower, or several in a `ServiceBuilder`, as a [`Layer`].
///
/// The layer of tower is applied once, so that all agents and tools that this layer wraps share its
/// state. The service must be `Clone`, because requests run concurrently; place a `Buffer` around a
/// service that is not.
pub struct TowerLayer<S> {
    service: Mutex<S>,
    map_error: Option<Box<MapError>>,
}

/// The innermost service of a [`TowerLayer`], which passes a request to the agent or the tool that
/// the request is for.
#[derive(Debug, Clone)]
pub struct Target(());

impl<S> TowerLayer<S> {
    /// Creates a layer from a layer of tower.
    pub fn new(layer: impl tower_layer::Layer<Target, Service = S>) -> Self {
        Self {
            service: Mutex::new(layer.layer(Target(()))),
            map_error: None,
        }
    }

    /// Sets how errors that are not an [`AgentError`] are converted.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use agentwire::{AgentError, ErrorCode, layer::tower::TowerLayer};
    /// use tower::timeout::{TimeoutLayer, error::Elapsed};
    ///
    /// let timeout = TimeoutLayer::new(Duration::from_secs(5));
    /// let layer = TowerLayer::new(timeout).map_error(|error| {
    ///     if error.is::<Elapsed>() {
    ///         AgentError::with_code(ErrorCode::AGENT_TIMEOUT, "no answer within 5 s")
    ///     } else {
    ///         error.into()
    ///     }
    /// });
    /// ```
    #[must_use]
    pub fn map_error(
        mut self,
        map_error: impl Fn(BoxError) -> AgentError + Send + Sync + 'static,
    ) -> Self {
        self.map_error = Some(Box::new(map_error));
        self
    }
}

impl<S> Layer for TowerLayer<S>
where
    S: Service<Request, Response = Reply> + Clone + Send + 'static,
    S::Error: Into<BoxError> + Send,
    S::Future: Send,
{
    async fn process<A: Agent>(
        &self,
        message: Message,
        context: RequestContext,
        next: &Arc<A>,
    ) -> Result<Message, AgentError> {
        let request = for_agent(Payload::Process(message), context, next);
        match call(&self.service, self.map_error.as_deref(), request).await? {
            Reply::Message(message) => Ok(message),
            other => Err(other.unexpected("a message")),
        }
    }

    fn stream<A: Agent>(
        &self,
        message: Message,
        context: RequestContext,
        next: &Arc<A>,
    ) -> impl Stream<Item = Result<Message, AgentError>> + Send {
        let request = for_agent(Payload::Stream(message), context, next);
        stream! {
            match call(&self.service, self.map_error.as_deref(), request).await {
                Ok(Reply::Stream(mut answers)) => {
                    while let Some(answer) = answers.next().await {
                        yield answer;
                    }
                }
                Ok(other) => yield Err(other.unexpected("a stream")),
                Err(error) => yield Err(error),
            }
        }
    }

    async fn execute<T: Tool>(
        &self,
        kwargs: Map,
        context: RequestContext,
        next: &Arc<T>,
    ) -> Result<ToolResult, AgentError> {
        let mut request = Request::new(Payload::Execute(kwargs), context);
        request.next = Some(Next::Tool(SharedTool(Arc::clone(next) as _)));
        match call(&self.service, self.map_error.as_deref(), request).await? {
            Reply::Tool(result) => Ok(result),
            other => Err(other.unexpected("the result of a tool")),
        }
    }
}

fn for_agent<A: Agent>(payload: Payload, context: RequestContext, next: &Arc<A>) -> Request {
    let mut request = Request::new(payload, context);
    request.next = Some(Next::Agent(SharedAgent::from_arc(Arc::clone(next))));
    request
}

impl Service<Request> for Target {
    type Response = Reply;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Reply, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        match (request.next.take(), request.payload) {
            (Some(Next::Agent(agent)), payload) => {
                ask(agent.into_inner(), Request::new(payload, request.context))
            }
            (Some(Next::Tool(tool)), Payload::Execute(kwargs)) => Box::pin(async move {
                let result = tool.execute(kwargs, request.context).await;
                result.map(Reply::Tool).map_err(AgentError::into_boxed)
            }),
            _ => Box::pin(std::future::ready(Err(BoxError::from(
                "a layer of tower has replaced the request by one for nobody",
            )))),
        }
    }
}

impl<S> fmt::Debug for TowerLayer<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TowerLayer").finish_non_exhaustive()
    }
}
