//! The handle of a client.

use std::{fmt, sync::Arc, time::Duration};

use agentwire_codec::{
    Body, Call as CallBody, Execute, Map, Message, Request, Response, ToolResult,
};
use agentwire_registry::{Query, Registry};
use agentwire_transport::{Endpoint, Error as TransportError};
use futures_core::Stream;
use futures_util::StreamExt;
use tokio::time::Instant;

use super::{
    builder::{Discovered, FixedEndpoint, RemoteAgentBuilder},
    call::Call,
    config::CallOptions,
    router::Destination,
    shared::Client,
    stats::ClientStats,
    stream::MessageStream,
};
use crate::{
    Error, RequestContext,
    agent::{Agent, AgentError},
};

/// An agent in another process, in any language.
///
/// A client connects when it is first called, keeps connections for later calls, and connects again
/// when its server has restarted. Each call has a connection to itself, so that none waits behind
/// another. Clones share the connections; dropping the last clone closes them.
///
/// It is itself an [`Agent`], a drop-in replacement for a local one. Its own methods of the same
/// names return [`Error`], which says more about failures.
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
/// A client may outlive a runtime, and may be called from several. A connection is driven by the
/// runtime on which it was opened. If you share a client between runtimes, keep all of them
/// running: a current-thread runtime that is not being polled stalls every call that uses one of
/// its connections, until that call times out.
#[derive(Clone)]
pub struct RemoteAgent(Arc<Inner>);

struct Inner {
    client: Arc<Client>,
    destination: Destination,
    /// What `Agent::name` returns: the configured name, or the endpoint.
    display_name: String,
}

impl RemoteAgent {
    /// Creates a client for the agent at this endpoint, with default settings. It does not connect
    /// before the first call.
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

    /// Returns the settings of a client for the agent at this endpoint.
    pub fn builder<E>(endpoint: E) -> RemoteAgentBuilder<FixedEndpoint>
    where
        E: TryInto<Endpoint>,
        TransportError: From<E::Error>,
    {
        RemoteAgentBuilder::<FixedEndpoint>::new(endpoint)
    }

    /// Returns the settings of a client for the instances of an agent that a registry lists.
    ///
    /// The query names the agent, and may restrict which of its instances are called: by version,
    /// capabilities, tools or metadata. The name alone will do.
    ///
    /// The client follows the registry. It calls instances as they join, and closes the connections
    /// to those that leave, expire or stop matching once their calls have ended. Calls are
    /// [balanced] over the instances. An instance that cannot be reached, that repeatedly closes
    /// connections without answering, or whose server reports no such agent is ejected for a while,
    /// which starts and grows as the delays of the [`RetryPolicy`], and is probed in the
    /// background.
    ///
    /// A request that was not processed goes to another instance within the time of the call. A
    /// request that may have been received by one instance goes to another only if
    /// [`RetryPolicy::resend`] allows it. An `AGENT_NOT_FOUND` that the agent itself fails with,
    /// perhaps because of another agent that it called, is an answer like any other.
    ///
    /// A call fails with [`Error::NotRegistered`] if no instance is registered, with
    /// [`Error::Unreachable`] if none can be reached, and with [`Error::AgentNotFound`] if other
    /// agents are at their endpoints. While the registry is unreachable, calls go to the instances
    /// already known. If it comes back empty, instances that it no longer lists remain usable for
    /// 90 s, but only while no listed instance is available.
    ///
    /// From the first call on, one task watches the registry; others look instances up, and probe
    /// them. They end with the client.
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
    pub fn discover(
        registry: impl Registry,
        query: impl Into<Query>,
    ) -> RemoteAgentBuilder<Discovered> {
        RemoteAgentBuilder::<Discovered>::discover(registry, query.into())
    }

    fn from_parts(client: Arc<Client>, destination: Destination) -> Self {
        let display_name = match (client.config.name.as_str(), destination.endpoint()) {
            ("", Some(endpoint)) => endpoint.to_string(),
            (name, _) => name.to_owned(),
        };
        Self(Arc::new(Inner {
            client,
            destination,
            display_name,
        }))
    }

    /// Returns the endpoint of the agent; `None` if the client [discovers](Self::discover) its
    /// instances.
    #[must_use]
    pub fn endpoint(&self) -> Option<&Endpoint> {
        self.0.destination.endpoint()
    }

    /// Asks the agent for one answer.
    ///
    /// # Errors
    ///
    /// Any [`Error`] of a call. It never waits longer than the client's timeout.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the call up: its connection is closed, a Rust server drops the
    /// work, and no late answer reaches another call. The agent may have processed the request. A
    /// [shared connection](RemoteAgentBuilder::max_in_flight_per_connection) stays open, and the
    /// server continues to work.
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
        let request = Request::Process(self.call_body(message));
        let mut call = self.call(request, options)?.limit(options.total_timeout);
        match call.run().await? {
            Body::Response(Response::Message(message)) => Ok(message),
            Body::Error(error) => Err(call.remote(error)),
            other => Err(call.unexpected("'response' with a message", &other)),
        }
    }

    /// Asks the agent for a stream of answers. Nothing is sent before the stream is first polled.
    ///
    /// The timeout applies from chunk to chunk. A slow reader slows the agent down; nothing is
    /// buffered in between.
    ///
    /// # Errors
    ///
    /// An error is the last item of the stream.
    ///
    /// # Cancel safety
    ///
    /// Waiting for the next item may be given up and resumed without losing anything. Dropping the
    /// stream before its end closes its connection, which tells the agent to stop.
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
        let request = Request::Stream(self.call_body(message));
        MessageStream::new(self.call(request, options), options.total_timeout)
    }

    /// Runs one of the tools that the server offers.
    ///
    /// ```no_run
    /// # async fn example(weather: agentwire::RemoteAgent) -> Result<(), agentwire::Error> {
    /// let kwargs = agentwire::map! {"city": "Oslo", "days": 3};
    /// let result = weather.execute("forecast", kwargs).await?;
    /// if result.success {
    ///     println!("{}", result.data);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Any [`Error`] of a call, and [`Error::ToolNotFound`], [`Error::ToolFailed`], or
    /// [`Error::Unsupported`] for a server without tools, such as Python's. A result that is not a
    /// success is not an error.
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
        let mut call = self.call(request, options)?.limit(options.total_timeout);
        match call.run().await? {
            Body::Response(Response::Tool(result)) => Ok(result),
            Body::Error(error) => Err(call.remote(error)),
            other => Err(call.unexpected("'response' with a tool's result", &other)),
        }
    }

    /// Sends a request that is neither to an agent nor to a tool, and has one answer.
    pub(crate) async fn ask(
        &self,
        body: impl Into<Body>,
        options: &CallOptions,
    ) -> Result<Map, Error> {
        let mut call = self.call(body, options)?;
        match call.run().await? {
            Body::Response(Response::Other(answer)) => Ok(answer),
            Body::Error(error) => Err(call.remote(error)),
            other => Err(call.unexpected("'response' to this method", &other)),
        }
    }

    /// Sends a request that is neither to an agent nor to a tool, and is answered with a stream.
    pub(crate) fn ask_for_stream(&self, request: Request) -> MessageStream {
        MessageStream::new(self.call(request, &CallOptions::new()), None)
    }

    /// Finds out whether a server is there and reads its requests. Returns how long that took.
    ///
    /// It sends a heartbeat, which servers do not act upon. Any answer proves life, including the
    /// error that Rust's and Python's servers answer with. So does a connection that is closed in
    /// answer, as Go's server does.
    ///
    /// # Errors
    ///
    /// Any [`Error`] of a call but those that a server answers with. It never waits longer than the
    /// client's timeout.
    ///
    /// # Cancel safety
    ///
    /// As [`process`](Self::process).
    pub async fn ping(&self) -> Result<Duration, Error> {
        let start = Instant::now();
        let mut call = Call::new_ping(&self.0.client, &self.0.destination)?;
        call.ping().await?;
        Ok(start.elapsed())
    }

    /// Returns what the client is doing at this moment. Clones are one client.
    #[must_use]
    pub fn stats(&self) -> ClientStats {
        self.0.client.counters.stats(self.0.destination.idle())
    }

    /// Closes the client, for all of its clones: it makes no more calls, and closes connections as
    /// they become free. Returns when the calls in flight have ended, which they do within their
    /// timeouts. Streams end with [`Error::ClientClosed`] when they are next polled.
    ///
    /// Dropping the last clone and the last stream closes the client without waiting.
    ///
    /// # Cancel safety
    ///
    /// The client is closed even if the future is dropped after it was first polled.
    pub async fn close(&self) {
        let Inner {
            client,
            destination,
            ..
        } = &*self.0;
        client.closed.cancel();
        destination.drain();
        client.calls.close();
        client.calls.wait().await;
        // A call may have been about to open a connection.
        destination.drain();
    }

    /// Waits until the client is [closed](Self::close) and its calls have ended.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing; call it again.
    pub async fn closed(&self) {
        self.0.client.closed.cancelled().await;
        self.0.client.calls.wait().await;
    }

    /// Returns whether [`close`](Self::close) was called on any clone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.client.closed.is_cancelled()
    }

    fn call(&self, body: impl Into<Body>, options: &CallOptions) -> Result<Call, Error> {
        Call::new(&self.0.client, &self.0.destination, body, options)
    }

    fn call_body(&self, message: Message) -> CallBody {
        CallBody::new(self.0.client.config.name.as_str(), message)
    }
}

impl RemoteAgentBuilder<FixedEndpoint> {
    /// Checks the settings and creates the client. It does not connect before the first call.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidEndpoint`] or [`Error::InvalidSetting`].
    pub fn build(self) -> Result<RemoteAgent, Error> {
        let (client, destination) = self.into_parts()?;
        Ok(RemoteAgent::from_parts(client, destination))
    }
}

impl RemoteAgentBuilder<Discovered> {
    /// Checks the settings and creates the client. It does not ask the registry before the first
    /// call.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidName`], or [`Error::InvalidSetting`], for example if the query names no
    /// agent.
    pub fn build(self) -> Result<RemoteAgent, Error> {
        let (client, destination) = self.into_parts()?;
        Ok(RemoteAgent::from_parts(client, destination))
    }
}

impl Agent for RemoteAgent {
    /// Returns the name that the agent is called by, or the endpoint if there is none.
    fn name(&self) -> &str {
        &self.0.display_name
    }

    /// Calls the agent. It waits no longer than the deadline of `context`.
    async fn process(
        &self,
        message: Message,
        context: RequestContext,
    ) -> Result<Message, AgentError> {
        Ok(self.process_with(message, &within(&context)).await?)
    }

    /// Calls the agent. The stream ends by the deadline of `context`.
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
        Some(remaining) => options.total_timeout(remaining),
        None => options,
    }
}

impl fmt::Debug for RemoteAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteAgent")
            .field("name", &self.0.client.config.name)
            .field("endpoint", &self.endpoint())
            .finish_non_exhaustive()
    }
}
