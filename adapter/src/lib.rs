//! Lets agents in different processes and languages call each other over sockets.
//!
//! ```
//! use agentwire::{LocalAgent, Message, RemoteAgent, agent_fn};
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     // Other processes call agents at `unix:///path` and `tcp://host:port`.
//!     let echo = agent_fn("echo", |message: Message| async move {
//!         Ok(Message::agent(message.content))
//!     });
//!     let server = LocalAgent::serve(echo, "memory://front-page").await?;
//!
//!     let remote = RemoteAgent::new("memory://front-page")?;
//!     let reply = remote.process(Message::user("hello")).await?;
//!     assert_eq!(reply.text(), Some("hello"));
//!
//!     server.stop().await;
//!     Ok(())
//! }
//! ```
//!
//! An agent is anything that answers messages. Servers and clients speak the protocol of the Python
//! and Go adapters, so that either side may be written in any of the three languages.
//!
//! # Contents
//!
//! - **Agents**: the trait [`Agent`] and [`agent_fn`], which makes an agent of a closure. An agent
//!   receives a [`Message`] and a [`RequestContext`], and fails with an [`AgentError`].
//! - **Servers**: [`LocalAgent`] and [`LocalAgentBuilder`], which serve agents at an [`Endpoint`].
//! - **Clients**: [`RemoteAgent`] and [`RemoteAgentBuilder`], with [`CallOptions`],
//!   [`RetryPolicy`], [`Balance`] and [`ClientStats`]. A stream of answers is a [`MessageStream`].
//! - **Tools**: the trait [`Tool`], [`tool_fn`] and [`ToolResult`].
//! - **Registries**: the module [`registry`], in which agents find each other by name.
//! - **Values**: [`Value`] and [`Map`], the macros [`value!`] and [`map!`], and [`to_value`] and
//!   [`from_value`] for your own types.
//! - **Errors**: [`Error`], with the [`CallContext`] and the [`Phase`] in which a call failed.
//! - **Transports**: the module [`transport`], for connections and listeners of your own.
//!
//! # Behaviour
//!
//! A call ends with the answer of the agent or with an [`Error`] that names the agent, the endpoint
//! and the cause. Its timeout covers everything from waiting for a free connection to the answer.
//! The default is 30 s.
//!
//! A client connects on its first call and reconnects after its server has restarted. Connecting is
//! retried with exponential backoff until the timeout, so a client may start before its server. A
//! request that may have reached the server is sent again only if the [`RetryPolicy`] allows it.
//!
//! Answers are matched to requests by id. A call ends early if it times out or if its future is
//! dropped. The client then closes the connection, upon which a Rust server drops the work. On a
//! [shared connection](#concurrency) the client discards the late answer instead.
//!
//! # Concurrency
//!
//! ```text
//! RemoteAgent, clones share it        LocalAgent
//!   call ── connection ──────────────── task ─┬─ request
//!   call ── connection ──────────────── task  ├─ request
//!   stream ─ connection ─────────────── task  └─ request
//! ```
//!
//! By default each call in flight has its own connection, because Python and Go servers answer the
//! requests of one connection one after the other. A client opens up to
//! [`max_connections`](RemoteAgentBuilder::max_connections). It keeps idle connections for 50 s
//! ([`idle_timeout`](RemoteAgentBuilder::idle_timeout)), and checks each before it uses it again. A
//! call runs in the future of its caller, without a task in between.
//!
//! Set [`RemoteAgentBuilder::max_in_flight_per_connection`] to let calls share connections to a
//! Rust server. A task for each connection then writes the queued requests and assigns the answers
//! by id. This suits many concurrent calls with few connections.
//!
//! A server runs one task for each connection. The task works on up to
//! [`LocalAgentBuilder::max_in_flight_per_connection`] requests concurrently and sends each answer
//! as soon as it is ready. An agent that computes for long without an await point blocks the other
//! requests of its connection. Move such work to `tokio::task::spawn_blocking`.
//!
//! # Tools
//!
//! A server can offer [`Tool`]s beside its agent. Clients execute them by name, with arguments:
//!
//! ```
//! use agentwire::{LocalAgent, Map, Message, RemoteAgent, ToolResult, agent_fn, map, tool_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), agentwire::Error> {
//! let echo = agent_fn("echo", |message: Message| async move { Ok(message) });
//! let double = tool_fn("double", |kwargs: Map| async move {
//!     Ok(match kwargs["number"].as_i64() {
//!         Some(number) => ToolResult::success(number * 2),
//!         None => ToolResult::failure("number must be an integer"),
//!     })
//! });
//! let server = LocalAgent::builder(echo).tool(double).endpoint("memory://tools").serve().await?;
//!
//! let remote = RemoteAgent::new(server.endpoint())?;
//! let result = remote.execute("double", map! {"number": 21}).await?;
//! assert_eq!(result.data.as_i64(), Some(42));
//! # Ok(())
//! # }
//! ```
//!
//! # Finding agents
//!
//! A server can register its agents in a [`registry`]. Clients find them by name, capability, tool,
//! version or metadata:
//!
//! ```
//! use agentwire::{
//!     LocalAgent, Message, RemoteAgent, agent_fn,
//!     registry::{LocalRegistry, Query, Registry},
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let registry = LocalRegistry::new();
//! let echo = agent_fn("echo", |message: Message| async move { Ok(message) });
//! let server = LocalAgent::builder(echo)
//!     .registry(registry.clone())
//!     .metadata("zone", "b")
//!     .endpoint("memory://found")
//!     .serve()
//!     .await?;
//! server.registrations()[0].registered().await?;
//!
//! let found = registry.find(Query::new().metadata("zone", "b")).await?;
//! let remote = RemoteAgent::new(&found[0].endpoint)?;
//! remote.process(Message::user("hello")).await?;
//!
//! server.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! [`LocalRegistry`](registry::LocalRegistry) serves a single process.
//! [`RegistryServer`](registry::RegistryServer) serves a registry to other processes, whose client is
//! [`RemoteRegistry`](registry::RemoteRegistry). With the feature `redis`, `RedisRegistry` keeps its
//! registrations in Redis.
//!
//! # Calling by name
//!
//! [`RemoteAgent::discover`] makes a client that finds the instances of an agent in a [`registry`]:
//!
//! ```
//! # use agentwire::{LocalAgent, Message, RemoteAgent, agent_fn, registry::LocalRegistry};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let registry = LocalRegistry::new();
//! # let echo = agent_fn("echo", |message: Message| async move { Ok(message) });
//! # let server = LocalAgent::builder(echo).registry(registry.clone());
//! # let server = server.endpoint("memory://by-name").serve().await?;
//! # server.registrations()[0].registered().await?;
//! let remote = RemoteAgent::discover(registry, "echo").build()?;
//! let reply = remote.process(Message::user("hello")).await?;
//! # assert_eq!(reply.text(), Some("hello"));
//! # server.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! A [`Query`](registry::Query) in place of the name restricts the calls to instances with a
//! certain version, capability, tool or metadata.
//!
//! The client watches the registry and balances its calls over the registered instances
//! ([`Balance`]). When an instance unregisters or expires, the client closes its connections as
//! soon as their calls have ended.
//!
//! An instance is ejected for a back-off period if it cannot be reached, if it repeatedly closes
//! connections without answering, or if its server reports no such agent. The client probes an
//! ejected instance in the background until it recovers.
//!
//! A request that was never sent is retried on another instance before its deadline, so an instance
//! can die without failing calls that it has not received. A request that may have been received is
//! not retried unless [`RetryPolicy::resend`] allows it; its error names the endpoint.
//! [`Error::NotRegistered`] means that the registry lists no instance, and [`Error::Unreachable`]
//! that no listed instance can be reached.
//!
//! If the registry is unreachable or slow, calls go to the instances already known after at most 1
//! s. If the registry comes back empty, instances that it no longer lists remain usable for 90 s,
//! but only while no listed instance is available.
//!
//! # Errors
//!
//! An agent fails with an [`AgentError`], which the caller receives with its code, text and
//! details. `?` converts any other error into an [`AgentError`] with the code `INTERNAL_ERROR`. The
//! error of a call to another agent keeps the code, text and details of that agent.
//!
//! ```
//! use agentwire::{AgentError, LocalAgent, Message, RemoteAgent, agent_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), agentwire::Error> {
//! let double = agent_fn("double", |message: Message| async move {
//!     let text = message.text().ok_or(AgentError::with_code("TEXT_ONLY", "send a text"))?;
//!     let number: i64 = text.parse()?;
//!     Ok(Message::agent(number * 2))
//! });
//! let server = LocalAgent::serve(double, "memory://errors").await?;
//!
//! let remote = RemoteAgent::new(server.endpoint())?;
//! let error = remote.process(Message::user(21)).await.unwrap_err();
//! assert!(error.is_remote());
//! assert_eq!(error.code().as_str(), "TEXT_ONLY");
//! # Ok(())
//! # }
//! ```
//!
//! A call fails with an [`Error`]. [`Error::remote`] returns the error of the agent;
//! [`Error::is_timeout`] and [`Error::is_connect`] tell other failures apart. [`Error::context`]
//! names the agent, the endpoint and the request. [`Error::was_sent`] tells whether the agent may
//! have received the request, and [`Error::is_retryable`] whether it is worth sending again. The
//! format `{:#}` prints an error with its sources.
//!
//! # Middleware
//!
//! [`Agent`] is also the trait of middleware: a type that wraps an agent is an agent. Because
//! [`RemoteAgent`] is an agent, too, the same wrapper works in servers and in clients:
//!
//! ```
//! use std::time::Instant;
//!
//! use agentwire::{Agent, AgentError, LocalAgent, Message, RemoteAgent, RequestContext, agent_fn};
//!
//! /// Measures how long its agent takes.
//! struct Timed<A>(A);
//!
//! impl<A: Agent> Agent for Timed<A> {
//!     fn name(&self) -> &str {
//!         self.0.name()
//!     }
//!
//!     async fn process(
//!         &self,
//!         message: Message,
//!         context: RequestContext,
//!     ) -> Result<Message, AgentError> {
//!         let start = Instant::now();
//!         let reply = self.0.process(message, context).await;
//!         println!("{} took {:?}", self.name(), start.elapsed());
//!         reply
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let echo = agent_fn("echo", |message: Message| async move { Ok(message) });
//! let server = LocalAgent::serve(Timed(echo), "memory://middleware").await?;
//!
//! let remote = Timed(RemoteAgent::new(server.endpoint())?);
//! let reply = remote.process(Message::user("hello"), RequestContext::new()).await?;
//! assert_eq!(reply.text(), Some("hello"));
//! # Ok(())
//! # }
//! ```
//!
//! A wrapper also forwards [`Agent::stream`] and [`Agent::capabilities`] if its agent has them. The
//! [`RequestContext`] carries the peer, the deadline, and typed
//! [extensions](RequestContext::extensions) through which layers hand on what they found out.
//!
//! # Shutdown
//!
//! [`LocalAgent::stop`] accepts no new requests and answers those in flight. [`LocalAgent::abort`]
//! drops them. Both return when no task and no socket file is left. Dropping a [`LocalAgent`]
//! aborts it. [`LocalAgentBuilder::serve_until`] serves until a future completes, such as
//! `tokio::signal::ctrl_c()`, and then stops.
//!
//! A registered server first unregisters its agents, and accepts calls for another 250 ms
//! ([`LocalAgentBuilder::deregistration_delay`]), until clients have learned that it left.
//!
//! [`RemoteAgent::close`] closes a client: it waits for the calls in flight, and ends streams with
//! [`Error::ClientClosed`]. [`LocalAgent::stopped`] and [`RemoteAgent::closed`] wait for the end.
//!
//! # Logs
//!
//! Events and spans go to [`tracing`]. Each call, connection and request has a `debug` span with
//! the endpoint, the agent, the method and the request id, and a `debug` event with its outcome and
//! duration. A panic of an agent is logged as an `error`, and a connection that cannot be accepted
//! as a `warn`. Healthy operation logs nothing at `info` or above. Logs never contain the contents
//! of messages.
//!
//! [`tracing`]: https://docs.rs/tracing
//!
//! # Limits
//!
//! | what | default | at the limit |
//! |---|---|---|
//! | payload of a frame, each way | 10 MiB | the sender fails with [`Error::Encode`]; a receiver answers with an error and closes the connection |
//! | connections of a server | 1024 | further connections wait in the accept queue of the system |
//! | requests in flight on one connection | 64 | the server reads no further requests |
//! | connections of a client to each instance | 64 | calls wait, within their timeout |
//! | instances of one name that a client calls | 1024 | further instances are ignored, with a `warn` event |
//! | time to connect | 5 s; to a discovered instance 3 s, or a third of the remaining time | connecting is retried; another instance is tried |
//! | time for a registry lookup | 1 s if instances are known, otherwise a third of the remaining time | the known instances are called |
//! | nesting of a value | 256 levels | the value is rejected with an error |
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `anyhow` | no | the conversion of [`AgentError`] into `anyhow::Error` |
//! | `redis` | no | `registry::RedisRegistry`, a registry in Redis |
//! | `typed-tools` | no | `typed_tool_fn`: tools whose arguments are a struct, with its JSON Schema |
//!
//! # Minimum supported Rust version
//!
//! Rust 1.85.
//!
//! # Not supported yet
//!
//! - TLS, and authentication beyond the credentials of a peer on a Unix socket.
//! - Carriers other than frames over sockets and memory: WebSocket, HTTP and gRPC.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod agent;
mod client;
mod connection;
mod context;
mod deadline_timer;
mod error;
pub mod registry;
mod server;
mod tool;

pub use agentwire_codec::{
    DecodeError, DecodeFault, EncodeError, ErrorCode, Format, FrameError, FrameLimits, Integer,
    Map, Message, RequestId, Role, Timestamp, ToolFailure, ToolResult, Value, ValueError,
    WireError, from_value, map, to_value, value,
};
/// Connections, listeners and connectors, also for a transport of your own.
pub use agentwire_transport as transport;
pub use agentwire_transport::Endpoint;

#[cfg(feature = "typed-tools")]
pub use crate::tool::{Typed, TypedTool, TypedToolHandler, typed_tool_fn};
pub use crate::{
    agent::{
        Agent, AgentError, AgentHandler, FnAgent, SharedAgent, StreamFnAgent, StreamHandler,
        agent_fn, stream_fn,
    },
    client::{
        Balance, CallOptions, ClientStats, Discovered, FixedEndpoint, MessageStream, RemoteAgent,
        RemoteAgentBuilder, RetryPolicy,
    },
    context::{Extensions, RequestContext},
    error::{CallContext, Error, Phase, ProtocolError, Result},
    server::{LocalAgent, LocalAgentBuilder},
    tool::{FnTool, Tool, ToolHandler, tool_fn},
};

/// Compiles the programs of the README.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
