//! Lets agents in different processes and languages call each other over sockets.
//!
//! An agent is anything that answers messages. [`LocalAgent`] serves one on an endpoint; [`RemoteAgent`] calls
//! one, wherever it lives. On the wire this is the protocol of the Python and Go adapters, so either
//! side may be written in any of the three.
//!
//! ```
//! use agentwire::{LocalAgent, Message, RemoteAgent, agent_fn};
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     // Any closure is an agent. `unix:///path` and `tcp://host:port` serve other processes.
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
//! # Behaviour
//!
//! A call ends in the agent's answer or in an [`Error`] that says which agent was meant, where, and what
//! happened. It never waits longer than its timeout: 30 s unless told otherwise, from waiting for a
//! free connection to the answer. What the agent itself fails with arrives with its code, text and
//! details: [`Error::remote`].
//!
//! A server that is not there is waited for within that time; a connection that cannot be made is tried again,
//! with growing waits. What was sent is sent again only if a [`RetryPolicy`] allows it. A client needs no
//! care: it connects when it is called, and again when its server has gone and come back.
//!
//! An answer is matched to its request by id. A call that is given up, by a timeout or by dropping its
//! future, closes its connection; a server in Rust then drops the work, and nobody gets the late answer.
//!
//! # Tools
//!
//! A server may offer [`Tool`]s beside its agent, which are run with arguments by name:
//!
//! ```
//! use agentwire::{LocalAgent, Map, Message, RemoteAgent, ToolResult, agent_fn, map, tool_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), agentwire::Error> {
//! let echo = agent_fn("echo", |message: Message| async move { Ok(message) });
//! let double = tool_fn("double", |kwargs: Map| async move {
//!     let number = kwargs["number"].as_i64().unwrap_or_default();
//!     Ok(ToolResult::success(number * 2))
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
//! A server can tell a [`registry`] where its agents are and what they can do; others find them there by name,
//! capability or version.
//!
//! ```
//! use agentwire::{
//!     LocalAgent, Message, RemoteAgent, agent_fn,
//!     registry::{LocalRegistry, Registry},
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let registry = LocalRegistry::new();
//! let echo = agent_fn("echo", |message: Message| async move { Ok(message) });
//! let server = LocalAgent::builder(echo).registry(registry.clone()).endpoint("memory://found").serve().await?;
//! # server.registrations()[0].registered().await?;
//!
//! let found = registry.lookup("echo").await?;
//! let remote = RemoteAgent::new(&found[0].endpoint)?;
//! remote.process(Message::user("hello")).await?;
//!
//! server.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! [`RegistryServer`](registry::RegistryServer) serves a registry for other processes, and
//! [`RemoteRegistry`](registry::RemoteRegistry) asks it.
//!
//! # Calling by name
//!
//! [`RemoteAgent::discover`] calls an agent by the name that it is registered under in a [`registry`], wherever its
//! instances are. The client watches the registry, spreads calls over the instances that there are ([`Balance`]), and
//! closes its connections to those that left or expired once their calls have ended. It leaves an instance alone for a
//! while that it cannot connect to, that closes connections without an answer again and again, or whose server says
//! that it has no such agent; and tries beside the calls whether it is back.
//!
//! A request that did not leave goes to another instance within the time of the call, so that an instance may die
//! without a call being lost that was not on its way. One that may have been seen goes nowhere else, unless
//! [`RetryPolicy::resend`] allows it: its error names the endpoint. [`Error::NotRegistered`] says that there is no such
//! agent, [`Error::Unreachable`] that there is, but none of its instances can be reached.
//!
//! A registry that is out of reach, or hangs, holds up nobody for long who knows an instance. When it comes back without
//! what it knew, the instances that it does not name any more are called for 90 s yet, as long as there is no other and
//! they can be reached.
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
//! A client gives each call a connection to itself, because Python and Go servers answer one
//! connection's requests one after the other. It keeps connections for later calls, checks them
//! before it uses them again, closes them after 50 s, and opens up to [`max_connections`]. A call runs in its
//! caller's own future, without a task in between.
//!
//! With [`RemoteAgentBuilder::max_in_flight_per_connection`], calls share connections once there are no more to be
//! had, which is for servers in Rust: one task for each connection writes what its callers put in line, and
//! hands out the answers by id.
//!
//! A server has one task for each connection, which works on up to [`max_in_flight_per_connection`] requests
//! at a time and answers them as they finish. An agent that computes for long without an await
//! point holds up the requests of its own connection: move such work to `tokio::task::spawn_blocking`.
//!
//! [`max_connections`]: RemoteAgentBuilder::max_connections
//! [`max_in_flight_per_connection`]: LocalAgentBuilder::max_in_flight_per_connection
//!
//! # Shutdown
//!
//! [`LocalAgent::stop`] takes nothing new and answers what is in flight; [`LocalAgent::abort`] drops it. A server that
//! is registered leaves the registry first, and still takes calls meanwhile and for a
//! [notice](LocalAgentBuilder::deregistration_delay) after that: 250 ms unless told otherwise. Both return when no task and no socket
//! file is left. Dropping a [`LocalAgent`] aborts it. [`RemoteAgent::close`] does the same for a client.
//!
//! # Logs
//!
//! Events and spans go to [`tracing`]. At `info` nothing is said while all is well. At `debug` there is a span for
//! each call, connection and request, with endpoint, agent, method and request id, and an event with its outcome
//! and duration. What messages hold is never logged. A panic of an agent is an `error`, connections that cannot
//! be accepted are a `warn`.
//!
//! [`tracing`]: https://docs.rs/tracing
//!
//! # Limits
//!
//! | what | default | at the limit |
//! |---|---|---|
//! | payload of a frame, each way | 10 MiB | sender: [`Error::Encode`]; receiver: an error answer, then close |
//! | connections of a server | 1024 | further ones wait in the system's queue |
//! | requests in flight on one connection | 64 | no more are read |
//! | connections of a client, to each instance | 64 | calls wait, within their timeout |
//! | instances of a name that a client calls | 1024 | further ones are left out, with a warning in the log |
//! | connecting to an instance that was found by name | 3 s, or a third of the time that is left | another is tried |
//! | a registry's answer to which instances there are | 1 s if some are known, or a third of the time that is left | those are called |
//! | nesting of a value | 256 levels | an error |
//!
//! # Not supported yet
//!
//! TLS and WebSocket.

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
/// What a transport of your own needs.
pub use agentwire_transport as transport;
pub use agentwire_transport::Endpoint;

pub use crate::{
    agent::{Agent, AgentError, AgentHandler, FnAgent, SharedAgent, agent_fn},
    client::{
        Balance, CallOptions, ClientStats, MessageStream, RemoteAgent, RemoteAgentBuilder,
        RetryPolicy,
    },
    context::{Extensions, RequestContext},
    error::{CallContext, Error, Phase, ProtocolError},
    server::{LocalAgent, LocalAgentBuilder},
    tool::{FnTool, Tool, ToolHandler, tool_fn},
};

/// The README's programs compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
