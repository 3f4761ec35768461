//! A service of tower as an agent: [`ServiceAgent`].

use std::fmt;

use agentwire_codec::{Map, Message};
use agentwire_transport::internal::Mutex;
use async_stream::stream;
use futures_core::Stream;
use futures_util::StreamExt;
use tower_service::Service;

use super::exchange::{BoxError, MapError, Payload, Reply, Request, call};
use crate::{Agent, AgentError, RequestContext};

/// A service of tower as an agent.
///
/// Each request is passed to a clone of the service, because requests run concurrently. Place a
/// `Buffer` around a service that is not `Clone`.
pub struct ServiceAgent<S> {
    name: String,
    capabilities: Map,
    service: Mutex<S>,
    map_error: Option<Box<MapError>>,
}

impl<S> ServiceAgent<S> {
    /// Creates an agent that passes its requests to `service`.
    pub fn new(name: impl Into<String>, service: S) -> Self {
        Self {
            name: name.into(),
            capabilities: Map::new(),
            service: Mutex::new(service),
            map_error: None,
        }
    }

    /// Sets the capabilities of the agent, which are published in a registry.
    #[must_use]
    pub fn with_capabilities(mut self, capabilities: Map) -> Self {
        self.capabilities = capabilities;
        self
    }

    /// Sets how errors that are not an [`AgentError`] are converted, as in
    /// [`TowerLayer::map_error`](super::TowerLayer::map_error).
    #[must_use]
    pub fn map_error(
        mut self,
        map_error: impl Fn(BoxError) -> AgentError + Send + Sync + 'static,
    ) -> Self {
        self.map_error = Some(Box::new(map_error));
        self
    }
}

impl<S> Agent for ServiceAgent<S>
where
    S: Service<Request, Response = Reply> + Clone + Send + 'static,
    S::Error: Into<BoxError> + Send,
    S::Future: Send,
{
    fn name(&self) -> &str {
        &self.name
    }

    async fn process(
        &self,
        message: Message,
        context: RequestContext,
    ) -> Result<Message, AgentError> {
        let request = Request::new(Payload::Process(message), context);
        match call(&self.service, self.map_error.as_deref(), request).await? {
            Reply::Message(message) => Ok(message),
            other => Err(other.unexpected("a message")),
        }
    }

    fn stream(
        &self,
        message: Message,
        context: RequestContext,
    ) -> impl Stream<Item = Result<Message, AgentError>> + Send {
        let request = Request::new(Payload::Stream(message), context);
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

    fn capabilities(&self) -> Map {
        self.capabilities.clone()
    }
}

impl<S> fmt::Debug for ServiceAgent<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceAgent")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
