use std::{fmt, time::Duration};

use agentwire_codec::{
    Body, Call, Execute, Heartbeat, Map, Message, Request, Response, ToolResult,
};
use agentwire_registry::{Registry, SharedRegistry};
use agentwire_transport::{Endpoint, Error as TransportError};
use futures_core::Stream;
use futures_util::StreamExt;
use tokio::time::Instant;

use super::{
    CallOptions, ClientStats, MessageStream, RemoteAgentBuilder, exchange::Exchange, target::Target,
};
use crate::{
    Error, RequestContext,
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
///
/// # Runtimes
///
/// A client may outlive a runtime, and may be called from several. A connection belongs to the runtime of the call that
/// made it: as long as that one lives, it should run, or calls from another that are given this connection wait in vain,
/// up to their timeout. Runtimes with worker threads always run.
#[derive(Clone)]
pub struct RemoteAgent {
    target: Target,
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

    /// Settings for calling an agent by the name under which it is registered, wherever its instances are.
    ///
    /// The client follows the registry: instances that join are called, and those that leave or expire are not; the
    /// connections to these are closed once their calls have ended. Calls are [balanced] over the instances. One that
    /// cannot be connected to, whose server says that it has no agent of that name, or that closes connections without
    /// an answer several times in a row, is left alone for a while, which begins and grows as the waits of the
    /// [`RetryPolicy`], and, where nothing was done, another is tried within the time of the call. What may have been
    /// seen by one instance goes to another only if [`RetryPolicy::resend`] allows it. An `AGENT_NOT_FOUND` that an
    /// agent itself fails with, because of another that it called, say, is an answer.
    ///
    /// A call fails with [`Error::NotRegistered`] if there is no such agent, with [`Error::Unreachable`] if there
    /// is, but none of its instances can be reached, and with [`Error::AgentNotFound`] if others are in their places.
    /// While the registry cannot be reached, what was known last counts. Instances that it does not name any more when
    /// it is back are called for 90 s yet, if there is no other and they can be reached.
    ///
    /// One task watches the registry, from the first call on, and others ask it, or try whether an instance is back.
    /// They end with the client.
    ///
    /// ```
    /// use agentwire::{LocalAgent, Message, RemoteAgent, agent_fn};
    /// use agentwire::registry::{LocalRegistry, Registration, Registry};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let registry = LocalRegistry::new();
    /// let echo = agent_fn("echo", |message: Message| async move { Ok(message) });
    /// let server = LocalAgent::serve(echo, "memory://discover").await?;
    /// registry.register(Registration::new("echo", server.endpoint().clone())).await?;
    ///
    /// let remote = RemoteAgent::discover(registry, "echo").build()?;
    /// assert_eq!(remote.process(Message::user("hello")).await?.text(), Some("hello"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// [balanced]: RemoteAgentBuilder::balance
    /// [`RetryPolicy`]: crate::RetryPolicy
    /// [`RetryPolicy::resend`]: crate::RetryPolicy::resend
    pub fn discover(registry: impl Registry, name: impl Into<String>) -> RemoteAgentBuilder {
        RemoteAgentBuilder::by_name(SharedRegistry::new(registry), name.into())
    }

    pub(super) fn from_target(target: Target) -> Self {
        Self { target }
    }

    /// Where the agent is. Of one that is called by name, this is a custom endpoint that says so.
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
    /// late answer reaches another call. The agent may have worked on the request. A
    /// [shared connection](RemoteAgentBuilder::max_in_flight_per_connection) stays open, and the server goes on.
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
        let mut exchange = Exchange::new(self.target.clone(), self.timeout(options), request)?;
        match exchange.call().await? {
            Body::Response(Response::Message(message)) => Ok(message),
            Body::Error(error) => Err(exchange.remote(error)),
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
        let timeout = options.timeout.unwrap_or(self.target.config().timeout);
        let exchange = Exchange::new(self.target.clone(), timeout, request);
        MessageStream::new(exchange, options.total_timeout)
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
        let mut exchange = Exchange::new(self.target.clone(), self.timeout(options), request)?;
        match exchange.call().await? {
            Body::Response(Response::Tool(result)) => Ok(result),
            Body::Error(error) => Err(exchange.remote(error)),
            other => Err(exchange.unexpected("'response' with a tool's result", &other)),
        }
    }

    /// Sends anything that has one answer, which is of neither an agent nor a tool.
    pub(crate) async fn ask(&self, body: impl Into<Body>) -> Result<Map, Error> {
        let timeout = self.target.config().timeout;
        let mut exchange = Exchange::new(self.target.clone(), timeout, body)?;
        match exchange.call().await? {
            Body::Response(Response::Other(answer)) => Ok(answer),
            Body::Error(error) => Err(exchange.remote(error)),
            other => Err(exchange.unexpected("'response' to this method", &other)),
        }
    }

    /// Sends anything that is answered with a stream.
    pub(crate) fn ask_for_stream(&self, request: Request) -> MessageStream {
        let timeout = self.target.config().timeout;
        let exchange = Exchange::new(self.target.clone(), timeout, request);
        MessageStream::new(exchange, None)
    }

    /// Finds out whether a server is there and reads what it is sent. Returns how long that took.
    ///
    /// It sends a heartbeat, which no server does anything about: any answer proves life, an error too, as
    /// Rust's and Python's servers give. So does a connection that is closed in answer, as Go's server does.
    ///
    /// # Errors
    ///
    /// Any [`Error`] of a call but those that a server answers with. It never waits longer than the client's
    /// timeout.
    ///
    /// # Cancel safety
    ///
    /// As [`process`](Self::process).
    pub async fn ping(&self) -> Result<Duration, Error> {
        let start = Instant::now();
        let heartbeat = Heartbeat::healthy(self.target.config().name.as_str());
        let timeout = self.target.config().timeout;
        let mut exchange = Exchange::ping(self.target.clone(), timeout, heartbeat)?;
        exchange.prove_life().await?;
        Ok(start.elapsed())
    }

    /// What the client is doing, at this moment. Clones are one client.
    #[must_use]
    pub fn stats(&self) -> ClientStats {
        self.target.stats()
    }

    /// Closes the client, for all of its clones: no more calls are made, and connections are closed as they
    /// become free. It returns when the calls in flight have ended, which they do within their timeouts.
    /// Streams end with [`Error::ClientClosed`] when they are next polled.
    ///
    /// Dropping the last clone, and the last stream, closes what is left without waiting.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the client is closed all the same.
    pub async fn close(&self) {
        self.target.close().await;
    }

    fn call(&self, message: Message) -> Call {
        Call::new(self.target.config().name.as_str(), message)
    }

    /// The time of a call that has one answer.
    fn timeout(&self, options: &CallOptions) -> Duration {
        let timeout = options.timeout.unwrap_or(self.target.config().timeout);
        options
            .total_timeout
            .map_or(timeout, |total| total.min(timeout))
    }
}

impl Agent for RemoteAgent {
    /// The name that it is called by, or the endpoint if there is none.
    fn name(&self) -> &str {
        self.target.shown_name()
    }

    async fn process(
        &self,
        message: Message,
        context: RequestContext,
    ) -> Result<Message, AgentError> {
        Ok(self.process_with(message, &within(&context)).await?)
    }

    fn stream(
        &self,
        message: Message,
        context: RequestContext,
    ) -> impl Stream<Item = Result<Message, AgentError>> + Send {
        self.stream_with(message, &within(&context))
            .map(|answer| Ok(answer?))
    }
}

/// The settings of a call that ends by the caller's deadline.
fn within(context: &RequestContext) -> CallOptions {
    let options = CallOptions::new();
    match context.remaining() {
        Some(left) => options.total_timeout(left),
        None => options,
    }
}

impl fmt::Debug for RemoteAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteAgent")
            .field("name", &self.target.config().name)
            .field("endpoint", self.endpoint())
            .finish_non_exhaustive()
    }
}
