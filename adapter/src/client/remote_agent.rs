//! The handle of a client: [`RemoteAgent`].

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
    description::{DESCRIBE, ServerDescription},
};

/// An agent in another process, in any language.
///
/// A client connects on its first call and keeps its connections open for later calls. After a
/// restart of the server, the client reconnects. By default, each call over sockets has its own
/// connection, so a slow call does not delay other calls; over HTTP/2 and gRPC, calls share
/// connections. Clones share their connections. Dropping the last clone closes all connections.
///
/// `RemoteAgent` implements [`Agent`], so a remote agent can replace a local one. The inherent
/// methods of the same names return [`Error`], which describes failures in more detail than
/// [`AgentError`].
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
/// A client may outlive a runtime and may be used on several runtimes. Each connection is driven by
/// the runtime on which it was opened. All runtimes can use connections that were opened on a
/// multi-thread runtime. A current-thread runtime drives its connections only while a thread blocks
/// on the runtime, so only calls on the same runtime use those connections.
#[derive(Clone)]
pub struct RemoteAgent(Arc<Inner>);

struct Inner {
    client: Arc<Client>,
    destination: Destination,
    /// The result of `Agent::name`, which is the configured name, or the endpoint if no name is
    /// set.
    display_name: String,
}

impl RemoteAgent {
    /// Creates a client for the agent at `endpoint`, with default settings. The client connects on
    /// its first call.
    ///
    /// # Errors
    ///
    /// Returns [`Error::InvalidEndpoint`] if `endpoint` is not valid.
    pub fn new<E>(endpoint: E) -> Result<Self, Error>
    where
        E: TryInto<Endpoint>,
        TransportError: From<E::Error>,
    {
        Self::builder(endpoint).build()
    }

    /// Returns a builder for a client that calls the agent at `endpoint`.
    pub fn builder<E>(endpoint: E) -> RemoteAgentBuilder<FixedEndpoint>
    where
        E: TryInto<Endpoint>,
        TransportError: From<E::Error>,
    {
        RemoteAgentBuilder::<FixedEndpoint>::new(endpoint)
    }

    /// Returns a builder for a client that finds the instances of an agent in a registry.
    ///
    /// The query must name the agent. A plain name is a valid query. A query can also restrict the
    /// calls to instances with certain versions, capabilities, tools or metadata.
    ///
    /// The client watches the registry for changes. When an instance is registered, the client
    /// starts sending calls to the new instance. When an instance leaves, expires or stops matching
    /// the query, the client closes its connections as soon as their calls have ended. Calls are
    /// [balanced] across the instances.
    ///
    /// The client ejects an instance for a period if the instance cannot be reached, repeatedly
    /// closes connections without answering, or does not host the agent. An ejected instance is
    /// probed in the background. The duration of an ejection grows in the same way as the delays of
    /// the [`RetryPolicy`].
    ///
    /// An instance that accepts requests but leaves five calls in a row unanswered gets only trial
    /// calls until it answers. At most half of the instances are suspended in this way. An instance
    /// that answers with errors counts as busier than it is, so that it attracts no more calls than
    /// the others.
    ///
    /// If a request was not processed, the client sends the request to another instance, within the
    /// timeout of the call. If an instance may have received the request, another instance is tried
    /// only if [`RetryPolicy::resend`] allows it. If the agent itself fails with `AGENT_NOT_FOUND`,
    /// for example because the agent called another agent, the call returns that error like any
    /// other answer.
    ///
    /// A call fails with [`Error::NotRegistered`] if no instance is registered. A call fails with
    /// [`Error::Unreachable`] if no instance can be reached. A call fails with
    /// [`Error::AgentNotFound`] if every reachable endpoint hosts a different agent.
    ///
    /// While the registry is unreachable, the client calls the instances that it already knows. If
    /// instances expire, or the registry loses its data, the agents may be well and unable to reach
    /// the registry. These instances remain usable while they answer, and for 90 s without calls,
    /// but only while no registered instance is available.
    ///
    /// If another process registers at the endpoint of an instance, no call uses the connections to
    /// the previous process. An endpoint that is local to another machine is not called.
    ///
    /// The first call starts a task that watches the registry. Other tasks look up instances and
    /// probe ejected instances. All tasks end when the client is closed or dropped.
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

    /// Returns the endpoint of the agent, or `None` if the client [discovers](Self::discover) the
    /// agent's instances.
    #[must_use]
    pub fn endpoint(&self) -> Option<&Endpoint> {
        self.0.destination.endpoint()
    }

    /// Sends a message to the agent and returns its answer.
    ///
    /// # Errors
    ///
    /// Returns an [`Error`] if the call fails or takes longer than the client's timeout.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the call is cancelled and its connection is closed, so that no
    /// late answer can reach another call. A Rust server then drops the handler of the request, but
    /// the agent may already have processed the request. A [shared
    /// connection](RemoteAgentBuilder::max_in_flight_per_connection) stays open, and the server
    /// continues to process the request.
    pub async fn process(&self, message: Message) -> Result<Message, Error> {
        self.process_with(message, &CallOptions::new()).await
    }

    /// Sends a message to the agent and returns its answer, with options for this call.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`process`](Self::process).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the call is cancelled: see [`process`](Self::process).
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

    /// Sends a message to the agent and returns a stream of answers. The message is sent when the
    /// stream is first polled.
    ///
    /// The client's timeout applies to each chunk separately. Chunks are not buffered, so a slow
    /// reader slows down the agent.
    ///
    /// # Errors
    ///
    /// If the call fails, the last item of the stream is an [`Error`].
    ///
    /// # Cancel safety
    ///
    /// If a future that waits for the next item is dropped, no item is lost. If the stream is
    /// dropped before its end, its connection is closed, which tells the agent to stop.
    pub fn stream(&self, message: Message) -> MessageStream {
        self.stream_with(message, &CallOptions::new())
    }

    /// Sends a message to the agent and returns a stream of answers, with options for this call.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`stream`](Self::stream).
    ///
    /// # Cancel safety
    ///
    /// If the stream is dropped before its end, its connection is closed, which tells the agent to
    /// stop.
    pub fn stream_with(&self, message: Message, options: &CallOptions) -> MessageStream {
        let request = Request::Stream(self.call_body(message));
        MessageStream::new(self.call(request, options), options.total_timeout)
    }

    /// Runs a tool of the server and returns its result.
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
    /// Returns an [`Error`] if the call fails, such as [`Error::ToolNotFound`] or
    /// [`Error::ToolFailed`]. Returns [`Error::Unsupported`] if the server does not support tools.
    /// Python and Go servers do not. A [`ToolResult`] that reports a failure is returned as `Ok`.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the call is cancelled: see [`process`](Self::process).
    pub async fn execute(&self, tool: &str, kwargs: Map) -> Result<ToolResult, Error> {
        self.execute_with(tool, kwargs, &CallOptions::new()).await
    }

    /// Runs a tool of the server and returns its result, with options for this call.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`execute`](Self::execute).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the call is cancelled: see [`process`](Self::process).
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

    /// Returns the agents and tools of the server, with the JSON Schemas of the tools.
    ///
    /// ```
    /// use agentwire::{LocalAgent, Map, Message, RemoteAgent, ToolResult, agent_fn, tool_fn};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), agentwire::Error> {
    /// let echo = agent_fn("echo", |message: Message| async move { Ok(message) });
    /// let now = tool_fn("now", |_: Map| async move { Ok(ToolResult::success("noon")) });
    /// let server = LocalAgent::builder(echo).tool(now).endpoint("memory://describe").serve().await?;
    ///
    /// let description = RemoteAgent::new(server.endpoint())?.describe().await?;
    /// assert_eq!(description.agents[0].name, "echo");
    /// assert_eq!(description.tools[0].name, "now");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an [`Error`] if the call fails. Returns [`Error::Unsupported`] if the server does
    /// not describe itself. Python and Go servers, registries and older Rust servers do not.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the call is cancelled: see [`process`](Self::process).
    pub async fn describe(&self) -> Result<ServerDescription, Error> {
        let request = Request::Other(Map::from([("method", DESCRIBE)]));
        let mut call = self.call(request, &CallOptions::new())?;
        match call.run().await? {
            Body::Response(Response::Other(answer)) => {
                let description = ServerDescription::from_payload(answer);
                description.ok_or_else(|| {
                    let malformed = Body::Response(Response::Other(Map::new()));
                    call.unexpected("a valid description of the server", &malformed)
                })
            }
            Body::Error(error) => Err(call.remote_method(error)),
            other => Err(call.unexpected("'response' with a description", &other)),
        }
    }

    /// Sends a request that is not addressed to an agent or a tool, and returns its only answer.
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

    /// Sends a request that is not addressed to an agent or a tool, and returns a stream of
    /// answers.
    pub(crate) fn ask_for_stream(&self, request: Request) -> MessageStream {
        MessageStream::new(self.call(request, &CallOptions::new()), None)
    }

    /// Checks whether the server is reading requests. Returns the round-trip time.
    ///
    /// The client sends a heartbeat, which servers do not process. Any answer proves that the
    /// server is alive. Rust and Python servers answer with an error. The Go server closes the
    /// connection, which also proves that the server is alive.
    ///
    /// # Errors
    ///
    /// Returns an [`Error`] if the server does not respond within the client's timeout. An error
    /// that the server sends counts as a response, unless the error refuses the client itself:
    /// [`Error::Unauthenticated`], [`Error::PermissionDenied`] or [`Error::RateLimited`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the call is cancelled: see [`process`](Self::process).
    pub async fn ping(&self) -> Result<Duration, Error> {
        let start = Instant::now();
        let mut call = Call::new_ping(&self.0.client, &self.0.destination)?;
        call.ping().await?;
        Ok(start.elapsed())
    }

    /// Returns the current statistics of the client. All clones share the same statistics.
    #[must_use]
    pub fn stats(&self) -> ClientStats {
        self.0.client.counters.stats(self.0.destination.idle())
    }

    /// Closes the client and all of its clones.
    ///
    /// The client accepts no more calls, and closes each connection once its calls have ended. This
    /// method returns when all calls in flight have ended or timed out. Streams end with
    /// [`Error::ClientClosed`] when they are next polled.
    ///
    /// Dropping the last clone and the last stream closes the client without waiting.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped after its first poll, the client is closed, but calls may still be
    /// in flight.
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
        // A call may have opened a connection after the first drain.
        destination.drain();
    }

    /// Waits until the client has been [closed](Self::close) and its calls have ended.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe. If the future is dropped, `closed` can be called again.
    pub async fn closed(&self) {
        self.0.client.closed.cancelled().await;
        self.0.client.calls.wait().await;
    }

    /// Returns whether [`close`](Self::close) has been called on any clone.
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
    /// Checks the settings and creates the client. The client connects on its first call.
    ///
    /// # Errors
    ///
    /// Returns [`Error::InvalidEndpoint`] if the endpoint is not valid, and
    /// [`Error::InvalidSetting`] if a setting is out of range.
    pub fn build(self) -> Result<RemoteAgent, Error> {
        let (client, destination) = self.into_parts()?;
        Ok(RemoteAgent::from_parts(client, destination))
    }
}

impl RemoteAgentBuilder<Discovered> {
    /// Checks the settings and creates the client. The client contacts the registry on its first
    /// call.
    ///
    /// # Errors
    ///
    /// Returns [`Error::InvalidName`] if the agent's name is invalid, and [`Error::InvalidSetting`]
    /// if a setting is out of range, or if the query is invalid or does not name an agent.
    pub fn build(self) -> Result<RemoteAgent, Error> {
        let (client, destination) = self.into_parts()?;
        Ok(RemoteAgent::from_parts(client, destination))
    }
}

impl Agent for RemoteAgent {
    /// Returns the name by which the client calls the agent, or the endpoint if there is no name.
    fn name(&self) -> &str {
        &self.0.display_name
    }

    /// Calls the agent. The call ends at the deadline of `context` at the latest.
    async fn process(
        &self,
        message: Message,
        context: RequestContext,
    ) -> Result<Message, AgentError> {
        Ok(self.process_with(message, &within(&context)).await?)
    }

    /// Calls the agent. The stream ends at the deadline of `context` at the latest.
    fn stream(
        &self,
        message: Message,
        context: RequestContext,
    ) -> impl Stream<Item = Result<Message, AgentError>> + Send {
        self.stream_with(message, &within(&context))
            .map(|answer| Ok(answer?))
    }
}

/// Returns the options of a call that ends no later than the deadline of `context`.
fn within(context: &RequestContext) -> CallOptions {
    let mut options = CallOptions::new();
    options.trace_context = context.trace().cloned();
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
