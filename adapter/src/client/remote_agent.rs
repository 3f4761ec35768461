use std::{fmt, sync::Arc};

use agentwire_codec::{
    Body, Call, Execute, Format, FrameLimits, Map, Message, Request, RequestId, Response,
    ToolResult,
};
use agentwire_transport::{Connector, Endpoint, Error as TransportError};
use futures_core::Stream;
use futures_util::StreamExt;

use super::{
    CallOptions, MessageStream, RemoteAgentBuilder, config::Config, exchange::Exchange, pool::Pool,
};
use crate::{
    CallSite, Error,
    agent::{Agent, AgentError},
};

/// An agent that lives elsewhere: in another process, in another language.
///
/// It connects when it is first called, keeps connections for later calls, and connects again when its
/// server has gone away and come back. Each call has a connection to itself, so that none waits behind
/// another. Clones share the connections; dropping the last clone closes them.
///
/// It is itself an [`Agent`], a drop-in for a local one. Its own methods of the same names say more
/// about failures: they return [`Error`].
///
/// ```no_run
/// use agentwire::{Message, RemoteAgent};
///
/// # async fn example() -> Result<(), agentwire::Error> {
/// let weather = RemoteAgent::new("unix:///run/agents/weather.sock")?;
/// let reply = weather.process(Message::user("Oslo?")).await?;
/// println!("{}", reply.content);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RemoteAgent {
    target: Target,
}

/// Whom a client calls: shared by its clones and by its calls.
#[derive(Clone)]
pub(super) struct Target(Arc<Inner>);

struct Inner {
    config: Config,
    pool: Arc<Pool>,
    /// What `Agent::name` returns: the configured name, or the endpoint.
    shown_name: String,
}

impl Target {
    pub(super) fn pool(&self) -> &Arc<Pool> {
        &self.0.pool
    }

    pub(super) fn frame_limits(&self) -> FrameLimits {
        self.0.config.frame_limits
    }

    pub(super) fn format(&self) -> Format {
        self.0.config.format
    }

    fn endpoint(&self) -> &Endpoint {
        self.0.pool.connector().endpoint()
    }

    pub(super) fn site(&self, tool: Option<String>, request_id: Option<RequestId>) -> CallSite {
        CallSite {
            agent: self.0.config.name.clone(),
            tool,
            endpoint: self.endpoint().clone(),
            request_id,
        }
    }
}

impl RemoteAgent {
    /// An agent at this endpoint, with default settings. It does not connect yet.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidEndpoint`].
    pub fn new<E>(endpoint: E) -> Result<Self, Error>
    where
        E: TryInto<Endpoint>,
        TransportError: From<E::Error>,
    {
        Self::builder(endpoint).build()
    }

    /// Settings for calling an agent.
    pub fn builder<E>(endpoint: E) -> RemoteAgentBuilder
    where
        E: TryInto<Endpoint>,
        TransportError: From<E::Error>,
    {
        RemoteAgentBuilder::new(endpoint)
    }

    pub(super) fn from_parts(connector: Arc<dyn Connector>, config: Config) -> Self {
        let shown_name = match config.name.as_str() {
            "" => connector.endpoint().to_string(),
            name => name.to_owned(),
        };
        let pool = Arc::new(Pool::new(
            connector,
            config.frame_limits,
            config.max_connections,
        ));
        Self {
            target: Target(Arc::new(Inner {
                config,
                pool,
                shown_name,
            })),
        }
    }

    /// Where the agent is.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        self.target.endpoint()
    }

    /// Asks the agent for one answer.
    ///
    /// # Errors
    ///
    /// Any [`Error`] of a call. It never waits longer than the client's timeout.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the call up: its connection is closed, a Rust server drops the work, and no
    /// late answer reaches another call. The agent may have worked on the request.
    pub async fn process(&self, message: Message) -> Result<Message, Error> {
        self.process_with(message, &CallOptions::new()).await
    }

    /// Asks the agent for one answer, with settings for this call.
    ///
    /// # Errors
    ///
    /// As [`process`](Self::process).
    ///
    /// # Cancel safety
    ///
    /// As [`process`](Self::process).
    pub async fn process_with(
        &self,
        message: Message,
        options: &CallOptions,
    ) -> Result<Message, Error> {
        let request = Request::Process(self.call(message));
        let exchange = Exchange::new(self.target.clone(), self.timeout(options), request)?;
        let (lease, body) = exchange.start().await?;
        match body {
            Body::Response(Response::Message(message)) => {
                lease.release();
                Ok(message)
            }
            Body::Error(error) => {
                lease.release();
                Err(exchange.remote(error))
            }
            // What else this connection holds is anybody's guess, so it is dropped.
            other => Err(exchange.unexpected("'response' with a message", &other)),
        }
    }

    /// Asks the agent for a stream of answers. Nothing is sent before the stream is first polled.
    ///
    /// The timeout holds from chunk to chunk. A slow reader slows the agent; nothing piles up in between.
    ///
    /// # Errors
    ///
    /// An error is the last item of the stream.
    ///
    /// # Cancel safety
    ///
    /// Waiting for the next item may be given up and taken up again without a loss. Dropping the stream before
    /// its end closes its connection, which tells the agent to stop.
    pub fn stream(&self, message: Message) -> MessageStream {
        self.stream_with(message, &CallOptions::new())
    }

    /// Asks the agent for a stream of answers, with settings for this call.
    ///
    /// # Errors
    ///
    /// As [`stream`](Self::stream).
    ///
    /// # Cancel safety
    ///
    /// As [`stream`](Self::stream).
    pub fn stream_with(&self, message: Message, options: &CallOptions) -> MessageStream {
        let request = Request::Stream(self.call(message));
        MessageStream::new(Exchange::new(
            self.target.clone(),
            self.timeout(options),
            request,
        ))
    }

    /// Runs one of the tools that the server offers.
    ///
    /// ```no_run
    /// # async fn example(weather: agentwire::RemoteAgent) -> Result<(), agentwire::Error> {
    /// let result = weather.execute("forecast", agentwire::map! {"city": "Oslo", "days": 3}).await?;
    /// if result.success {
    ///     println!("{}", result.data);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Any [`Error`] of a call, and [`Error::ToolNotFound`], [`Error::ToolFailed`], or [`Error::Unsupported`]
    /// for a server without tools, such as Python's. A result that says that it is not a success is not an
    /// error.
    ///
    /// # Cancel safety
    ///
    /// As [`process`](Self::process).
    pub async fn execute(&self, tool: &str, kwargs: Map) -> Result<ToolResult, Error> {
        self.execute_with(tool, kwargs, &CallOptions::new()).await
    }

    /// Runs one of the tools that the server offers, with settings for this call.
    ///
    /// # Errors
    ///
    /// As [`execute`](Self::execute).
    ///
    /// # Cancel safety
    ///
    /// As [`process`](Self::process).
    pub async fn execute_with(
        &self,
        tool: &str,
        kwargs: Map,
        options: &CallOptions,
    ) -> Result<ToolResult, Error> {
        let request = Request::Execute(Execute::new(tool, kwargs));
        let exchange = Exchange::new(self.target.clone(), self.timeout(options), request)?;
        let (lease, body) = exchange.start().await?;
        match body {
            Body::Response(Response::Tool(result)) => {
                lease.release();
                Ok(result)
            }
            Body::Error(error) => {
                lease.release();
                Err(exchange.remote(error))
            }
            other => Err(exchange.unexpected("'response' with a tool's result", &other)),
        }
    }

    fn call(&self, message: Message) -> Call {
        Call::new(self.target.0.config.name.as_str(), message)
    }

    fn timeout(&self, options: &CallOptions) -> std::time::Duration {
        options.timeout.unwrap_or(self.target.0.config.timeout)
    }
}

impl Agent for RemoteAgent {
    /// The name that it is called by, or the endpoint if there is none.
    fn name(&self) -> &str {
        &self.target.0.shown_name
    }

    async fn process(&self, message: Message) -> Result<Message, AgentError> {
        Ok(Self::process(self, message).await?)
    }

    fn stream(&self, message: Message) -> impl Stream<Item = Result<Message, AgentError>> + Send {
        Self::stream(self, message).map(|answer| Ok(answer?))
    }
}

impl fmt::Debug for RemoteAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteAgent")
            .field("name", &self.target.0.config.name)
            .field("endpoint", self.endpoint())
            .finish_non_exhaustive()
    }
}
