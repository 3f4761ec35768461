//! The requests and the responses of services.

use std::{error::Error as StdError, fmt, future::poll_fn};

use agentwire_codec::{Map, Message, ToolResult};
use agentwire_transport::internal::Mutex;
use futures_core::stream::BoxStream;
use tower_service::Service;

use crate::{AgentError, RequestContext, agent::SharedAgent, tool::SharedTool};

/// The error type of [`AgentService`](super::AgentService), as layers of tower expect it.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// A request to a service.
#[derive(Debug)]
#[non_exhaustive]
pub struct Request {
    /// What the service should do.
    pub payload: Payload,
    /// The context of the request.
    pub context: RequestContext,
    /// What a [`TowerLayer`](super::TowerLayer) wraps.
    pub(super) next: Option<Next>,
}

/// What a service should do.
#[derive(Debug)]
#[non_exhaustive]
pub enum Payload {
    /// Answer a message with one message.
    Process(Message),
    /// Answer a message with a stream of messages.
    Stream(Message),
    /// Execute a tool with these arguments.
    Execute(Map),
}

/// The response of a service.
#[non_exhaustive]
pub enum Reply {
    /// The answer to [`Payload::Process`].
    Message(Message),
    /// The answer to [`Payload::Stream`].
    Stream(BoxStream<'static, Result<Message, AgentError>>),
    /// The answer to [`Payload::Execute`].
    Tool(ToolResult),
}

/// The agent or the tool that a layer wraps.
pub(super) enum Next {
    Agent(SharedAgent),
    Tool(SharedTool),
}

impl Request {
    /// Creates a request.
    #[must_use]
    pub fn new(payload: Payload, context: RequestContext) -> Self {
        Self {
            payload,
            context,
            next: None,
        }
    }
}

impl Reply {
    /// Returns the error of an agent whose service answers with the wrong kind of reply.
    pub(super) fn unexpected(&self, expected: &str) -> AgentError {
        let found = match self {
            Self::Message(_) => "a message",
            Self::Stream(_) => "a stream",
            Self::Tool(_) => "the result of a tool",
        };
        AgentError::new(format!(
            "the service answered with {found} instead of {expected}"
        ))
    }
}

/// Calls a clone of a service, once that clone is ready.
///
/// # Cancel safety
///
/// If the future is dropped, the clone is dropped, and with it everything that the clone has
/// reserved.
pub(super) async fn call<S>(
    service: &Mutex<S>,
    map_error: Option<&MapError>,
    request: Request,
) -> Result<Reply, AgentError>
where
    S: Service<Request, Response = Reply> + Clone,
    S::Error: Into<BoxError>,
{
    let convert = |error: S::Error| convert(map_error, error.into());
    let mut service = service.lock().clone();
    let ready = poll_fn(|cx| service.poll_ready(cx)).await;
    ready.map_err(convert)?;
    let response = service.call(request);
    // The response owns what it needs.
    drop(service);
    response.await.map_err(convert)
}

/// Converts an error that is not an [`AgentError`].
pub(super) type MapError = dyn Fn(BoxError) -> AgentError + Send + Sync;

fn convert(map_error: Option<&MapError>, error: BoxError) -> AgentError {
    match (AgentError::from_boxed(error), map_error) {
        (Ok(error), _) => error,
        (Err(error), Some(map_error)) => map_error(error),
        (Err(error), None) => error.into(),
    }
}

impl fmt::Debug for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Agent(_) => "Agent",
            Self::Tool(_) => "Tool",
        })
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(message) => f.debug_tuple("Message").field(message).finish(),
            Self::Stream(_) => f.debug_tuple("Stream").finish_non_exhaustive(),
            Self::Tool(result) => f.debug_tuple("Tool").field(result).finish(),
        }
    }
}
