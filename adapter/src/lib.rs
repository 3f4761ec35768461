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
//! An agent is a type that answers messages. Servers and clients use the same protocol as the
//! Python and Go adapters, so the two sides of a call may be written in different languages.
//!
//! # Contents
//!
//! - **Agents**: the trait [`Agent`], and [`agent_fn`], which creates an agent from a closure. An
//!   agent receives a [`Message`] and a [`RequestContext`]. If an agent fails, it returns an
//!   [`AgentError`].
//! - **Servers**: [`LocalAgent`] and [`LocalAgentBuilder`], which serve agents at an [`Endpoint`].
//! - **Clients**: [`RemoteAgent`] and [`RemoteAgentBuilder`], with [`CallOptions`],
//!   [`RetryPolicy`], [`Balance`], [`ClientStats`], and [`MessageStream`] for streams of answers.
//! - **Tools**: the trait [`Tool`], [`tool_fn`] and [`ToolResult`].
//! - **Registries**: the module [`registry`], through which agents find each other by name.
//! - **Values**: [`Value`] and [`Map`], the macros [`value!`] and [`map!`], and [`to_value`] and
//!   [`from_value`] for your own types.
//! - **Observers**: the module [`observer`], whose trait learns what servers and clients do.
//! - **Errors**: [`Error`], with the [`CallContext`] and the [`Phase`] in which a call failed.
//! - **Transports**: the module [`transport`], for custom connections and listeners.
//!
//! # Behaviour
//!
//! A call returns the answer of the agent, or an [`Error`] that contains the agent, the endpoint
//! and the cause. The timeout of a call includes the time for waiting and connecting. The default
//! timeout is 30 s.
//!
//! A client connects on its first call, and reconnects after a restart of its server. Connecting is
//! retried with exponential backoff, so a client may be started before its server. A request that
//! may have reached the server is sent again only if the [`RetryPolicy`] allows it.
//!
//! Answers are matched to requests by id. If a call times out or its future is dropped, the client
//! closes the connection of the call. A Rust server then cancels the request. A [shared
//! connection](#concurrency) stays open, and the client discards the late answer.
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
//! By default, each call uses its own connection, because Python and Go servers process the
//! requests of a connection one after another. The number of connections is limited by
//! [`max_connections`](RemoteAgentBuilder::max_connections). A client keeps idle connections open
//! for 50 s ([`idle_timeout`](RemoteAgentBuilder::idle_timeout)). Before reusing a connection, the
//! client checks whether it is still open. A call runs in the future of its caller and does not
//! need a task.
//!
//! Set [`RemoteAgentBuilder::max_in_flight_per_connection`] to let calls share connections to a
//! Rust server. Each connection then has a task that writes the queued requests and matches the
//! answers to calls by id. Shared connections are useful for many concurrent calls over a few
//! connections.
//!
//! A server runs one task for each connection. The task processes up to
//! [`LocalAgentBuilder::max_in_flight_per_connection`] requests concurrently, and sends each answer
//! as soon as it is ready. An agent that computes for a long time without an await point blocks the
//! other requests of its connection. Use `tokio::task::spawn_blocking` for long computations.
//!
//! # Tools
//!
//! A server can offer [`Tool`]s in addition to its agent. Clients execute a tool by name, with
//! arguments:
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
//! A server can register its agents in a [`registry`]. Clients then find the agents by name,
//! capability, tool, version or metadata:
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
//! [`LocalRegistry`](registry::LocalRegistry) is a registry for a single process. A
//! [`RegistryServer`](registry::RegistryServer) makes a registry available to other processes. A
//! [`RemoteRegistry`](registry::RemoteRegistry) is a client of a `RegistryServer`. With the feature
//! `redis`, a `RedisRegistry` stores registrations in Redis.
//!
//! # Calling by name
//!
//! [`RemoteAgent::discover`] creates a client that finds the instances of an agent in a
//! [`registry`]:
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
//! To restrict calls to instances with a certain version, capability, tool or metadata, pass a
//! [`Query`](registry::Query) instead of the name.
//!
//! The client watches the registry and balances its calls across the registered instances
//! ([`Balance`]). When an instance unregisters or expires, the client closes its connections to the
//! instance as soon as their calls have ended.
//!
//! The client ejects an instance for a backoff period if the instance cannot be reached, repeatedly
//! closes connections without answering, or does not host the agent. The client probes an ejected
//! instance in the background until the instance recovers.
//!
//! If a request was never sent, the call is retried on another instance until its deadline. A
//! failing instance therefore affects only calls whose requests the instance may have received. A
//! request that an instance may have received is sent again only if [`RetryPolicy::resend`] allows
//! it. The error of a failed call contains the endpoint of the instance. [`Error::NotRegistered`]
//! means that no instance is registered. [`Error::Unreachable`] means that no registered instance
//! can be reached.
//!
//! If the registry is unreachable or slow, a call waits for at most 1 s and then uses the instances
//! that the client already knows. If the registry loses its data in a restart, unlisted instances
//! remain usable for 90 s, but only while no listed instance is available.
//!
//! # Errors
//!
//! An agent reports a failure by returning an [`AgentError`]. The caller receives the code, text
//! and details of the error. The operator `?` converts any other error into an [`AgentError`] with
//! the code `INTERNAL_ERROR`. If an agent fails because a call to another agent failed, the error
//! keeps the code, text and details of the other agent.
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
//! A failed call returns an [`Error`]. If the agent failed, [`Error::remote`] returns the error of
//! the agent. [`Error::is_timeout`] and [`Error::is_connect`] identify other failures.
//! [`Error::context`] returns the agent, the endpoint and the request. [`Error::was_sent`] returns
//! whether the agent may have received the request. [`Error::is_retryable`] returns whether the
//! call can safely be repeated. The format `{:#}` prints an error with its sources.
//!
//! # Layers
//!
//! A [`layer`] wraps agents and tools: [`Timeout`](layer::Timeout),
//! [`ConcurrencyLimit`](layer::ConcurrencyLimit), [`RateLimit`](layer::RateLimit),
//! [`Retry`](layer::Retry), [`CircuitBreaker`](layer::CircuitBreaker),
//! [`Fallback`](layer::Fallback), [`Hedge`](layer::Hedge) and others. The same layers work in
//! servers and, because a [`RemoteAgent`] is an [`Agent`], in clients. The trait
//! [`Layer`](layer::Layer) is for layers of your own:
//!
//! ```
//! use std::{sync::Arc, time::Instant};
//!
//! use agentwire::{
//!     Agent, AgentError, LocalAgent, Message, RemoteAgent, RequestContext, agent_fn, layer::Layer,
//! };
//!
//! /// Measures how long an agent takes.
//! struct Timed;
//!
//! impl Layer for Timed {
//!     async fn process<A: Agent>(
//!         &self,
//!         message: Message,
//!         context: RequestContext,
//!         next: &Arc<A>,
//!     ) -> Result<Message, AgentError> {
//!         let start = Instant::now();
//!         let reply = next.process(message, context).await;
//!         println!("{} took {:?}", next.name(), start.elapsed());
//!         reply
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let echo = agent_fn("echo", |message: Message| async move { Ok(message) });
//! let server = LocalAgent::builder(echo).layer(Timed).endpoint("memory://layers").serve().await?;
//!
//! let remote = RemoteAgent::new(server.endpoint())?.layer(Timed);
//! let reply = remote.process(Message::user("hello"), RequestContext::new()).await?;
//! assert_eq!(reply.text(), Some("hello"));
//! # Ok(())
//! # }
//! ```
//!
//! A layer keeps what it does not change: names, capabilities, streams and tools. The
//! [`RequestContext`] contains the peer, the deadline and typed
//! [extensions](RequestContext::extensions), by which a layer can pass values to the agent.
//!
//! # Shutdown
//!
//! [`LocalAgent::stop`] stops accepting requests and answers the requests in flight.
//! [`LocalAgent::abort`] drops the requests in flight. Both methods return when all tasks of the
//! server have ended and its socket files are removed. Dropping a [`LocalAgent`] aborts the server.
//! [`LocalAgentBuilder::serve_until`] stops the server when a future such as
//! `tokio::signal::ctrl_c()` completes.
//!
//! A registered server first unregisters its agents. The server then accepts calls for another 250
//! ms ([`LocalAgentBuilder::deregistration_delay`]), so that clients can receive the change.
//!
//! [`RemoteAgent::close`] closes a client, waits for the calls in flight, and ends streams with
//! [`Error::ClientClosed`]. [`LocalAgent::stopped`] waits until a server has been stopped, and
//! [`RemoteAgent::closed`] waits until a client has been closed.
//!
//! # Logs
//!
//! The library emits spans and events through [`tracing`]. Calls, connections and requests have
//! `debug` spans with fields such as the endpoint, the agent, the method and the request id. An
//! `error` event is emitted if an agent panics, and a `warn` event if a connection cannot be
//! accepted. Normal operation emits no events at `info` or above. Logs never contain the contents
//! of messages.
//!
//! [`tracing`]: https://docs.rs/tracing
//!
//! # Limits
//!
//! | what | default | at the limit |
//! |---|---|---|
//! | payload of a frame, each way | 10 MiB | the sender fails with [`Error::Encode`]; a receiver answers with an error and closes the connection |
//! | connections of a server | 1024 | a new connection replaces the one that has been without an accepted request for longest |
//! | requests in flight on one connection | 64 | the server reads no further requests |
//! | connections of a client to each instance | 64 | calls wait, within their timeout |
//! | instances of one name that a client calls | 1024 | further instances are ignored, with a `warn` event |
//! | time to connect | 5 s; to a discovered instance 3 s, or a third of the remaining time | connecting is retried; another instance is tried |
//! | time for a registry lookup | 1 s if instances are known, otherwise a third of the remaining time | the known instances are called |
//! | nesting of a value | 256 levels | the value is rejected with an error |
//!
//! # Features
//!
//! No feature is on by default. Without features, the crate has Unix sockets, TCP and memory, JSON
//! and MessagePack, and registries in a process and over sockets.
//!
//! | feature | adds |
//! |---|---|
//! | `tls-ring` | `tls://` endpoints, with the cryptography of ring |
//! | `tls-aws-lc` | `tls://` endpoints, with the cryptography of AWS-LC |
//! | `tls` | `tls://` endpoints; the program installs the cryptography |
//! | `websocket` | `ws://` endpoints, and `wss://` together with TLS |
//! | `http` | `http://` and `h2c://` endpoints, and `https://` together with TLS |
//! | `grpc` | `grpc://` endpoints, and `grpcs://` together with TLS |
//! | `auth` | the module `auth`: authentication, permissions, quotas and an audit record |
//! | `jwt` | JSON Web Tokens for `auth` |
//! | `metrics` | `observer::MetricsObserver`, which counts with the facade `metrics` |
//! | `opentelemetry` | spans that continue the trace of a caller |
//! | `opentelemetry-metrics` | `observer::MetricsObserver::with_meter`, which counts with a meter of OpenTelemetry |
//! | `cache` | `layer::Cache`, which stores answers |
//! | `validate` | `layer::Validate`, which checks arguments and contents against JSON Schemas |
//! | `tower` | `layer::tower`, which converts between agents and services of tower |
//! | `redis` | `registry::RedisRegistry`, a registry in Redis |
//! | `typed-tools` | `typed_tool_fn`: tools whose arguments are a struct, with its JSON Schema |
//! | `anyhow` | the conversion of [`AgentError`] into `anyhow::Error` |
//!
//! # Runtime
//!
//! The library runs on Tokio. Call it inside a runtime with I/O and time enabled, as
//! `#[tokio::main]` provides; both flavors of the runtime work. On a runtime of one thread, agents,
//! servers and clients share that thread. A program without Tokio can start a runtime in a thread
//! of its own. Tests can pause the time of Tokio, because all timeouts use it.
//!
//! An [`Agent`] is not a `tower::Service`. Agents are called through `&self`, can also stream, and
//! have no `poll_ready`, because the server applies its limits before it calls the agent.
//! [Layers](#layers) wrap agents instead. With the feature `tower`, `layer::tower` converts between
//! agents and services, and between layers and those of tower.
//!
//! # Minimum supported Rust version
//!
//! Rust 1.85.
//!
//! # Not supported
//!
//! - Runtimes other than Tokio.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod agent;
#[cfg(feature = "auth")]
pub mod auth;
mod client;
mod connection;
mod context;
mod credential;
mod deadline_timer;
mod description;
mod error;
#[cfg(feature = "grpc")]
mod grpc;
#[cfg(feature = "http")]
pub mod http;
pub mod layer;
pub mod observer;
mod peer_kind;
#[cfg(any(feature = "grpc", feature = "http"))]
mod poll_rounds;
mod principal;
pub mod progress;
mod proxy;
pub mod registry;
mod server;
mod tool;
mod trace;

/// Items for the command-line program. This module is exempt from semver.
#[doc(hidden)]
pub mod internal {
    pub use crate::{client::PlaintextCredentials, connection::frame_log::log_frames};
}

pub use agentwire_codec::{
    DecodeError, DecodeFault, EncodeError, ErrorCode, Format, FrameError, FrameLimits, Integer,
    Map, Message, RequestId, Role, Timestamp, ToolFailure, ToolResult, TraceContext, Value,
    ValueError, WireError, from_value, map, to_value, value,
};
/// Connections, listeners and connectors, including the traits for custom transports.
pub use agentwire_transport as transport;
pub use agentwire_transport::Endpoint;
#[cfg(feature = "tls")]
pub use agentwire_transport::{TlsClient, TlsServer};
#[cfg(feature = "websocket")]
pub use agentwire_transport::{WebSocketFault, WebSocketOptions};

#[cfg(feature = "typed-tools")]
pub use crate::tool::{Typed, TypedTool, TypedToolHandler, typed_tool_fn};
pub use crate::{
    agent::{
        Agent, AgentError, AgentHandler, FnAgent, SharedAgent, StreamFnAgent, StreamHandler,
        agent_fn, stream_fn,
    },
    client::{
        ApiKey, Balance, Bearer, CallOptions, ClientStats, Credentials, Discovered, FixedEndpoint,
        MessageStream, RemoteAgent, RemoteAgentBuilder, RetryPolicy,
    },
    context::{Extensions, RequestContext},
    credential::{Credential, CredentialKind},
    description::{AgentDescription, ServerDescription, ToolDescription},
    error::{CallContext, Error, Phase, ProtocolError, Result},
    peer_kind::PeerKind,
    principal::Principal,
    proxy::{Proxy, ProxyBuilder, ProxyTarget},
    server::{LocalAgent, LocalAgentBuilder},
    tool::{FnTool, RemoteTool, Tool, ToolHandler, tool_fn},
};
