//! Layers, which wrap agents and tools: timeouts, limits, retries, caches and others.
//!
//! A [`Layer`] sees each request before the agent or the tool does, and each answer after it. The
//! name, the description and the capabilities of what is wrapped never change, and a method that a
//! layer does not implement passes through: an agent that streams still streams.
//!
//! [`LocalAgentBuilder::layer`](crate::LocalAgentBuilder::layer) adds a layer around all agents and
//! tools of a server. [`Agent::layer`] and [`Tool::layer`] wrap one agent or one tool. A
//! [`RemoteAgent`](crate::RemoteAgent) is an agent, so the same layers work in clients:
//!
//! ```
//! use std::time::Duration;
//!
//! use agentwire::{
//!     Agent, LocalAgent, Message, RemoteAgent, RequestContext, agent_fn,
//!     layer::{ConcurrencyLimit, Timeout},
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let echo = agent_fn("echo", |message: Message| async move { Ok(message) });
//! let server = LocalAgent::builder(echo)
//!     .layer(Timeout::new())
//!     .layer(ConcurrencyLimit::new(32).queue(64))
//!     .endpoint("memory://layers-page")
//!     .serve()
//!     .await?;
//!
//! let remote = RemoteAgent::new(server.endpoint())?
//!     .layer(Timeout::new().total(Duration::from_secs(5)));
//! let reply = remote.process(Message::user("hello"), RequestContext::new()).await?;
//! assert_eq!(reply.text(), Some("hello"));
//! # Ok(())
//! # }
//! ```
//!
//! The layer that is added last is the outermost: it sees a request first and the answer last. The
//! server above takes a request out of the queue of the `ConcurrencyLimit` before the `Timeout`
//! starts.
//!
//! A layer holds its own state. All agents and tools that one layer wraps share its permits, rates
//! and budgets. To share a layer between agents, wrap it in an [`Arc`].

#[cfg(feature = "auth")]
mod audit;
mod budget;
#[cfg(feature = "cache")]
mod cache;
mod circuit_breaker;
mod concurrency_limit;
mod dynamic;
mod fallback;
mod fault;
mod future;
mod gcra;
mod hedge;
mod layered;
mod metrics;
mod rate_limit;
mod refusal;
mod retry;
mod stream;
mod target;
#[cfg(test)]
mod testing;
mod timeout;
#[cfg(feature = "tower")]
#[cfg_attr(docsrs, doc(cfg(feature = "tower")))]
pub mod tower;
mod trace;
#[cfg(feature = "validate")]
mod validate;

use std::{future::Future, sync::Arc};

use agentwire_codec::{Map, Message, ToolResult};
use futures_core::Stream;

#[cfg(feature = "auth")]
#[cfg_attr(docsrs, doc(cfg(feature = "auth")))]
pub use self::audit::Audit;
#[cfg(feature = "cache")]
#[cfg_attr(docsrs, doc(cfg(feature = "cache")))]
pub use self::cache::Cache;
pub(crate) use self::dynamic::DynLayer;
#[cfg(feature = "validate")]
#[cfg_attr(docsrs, doc(cfg(feature = "validate")))]
pub use self::validate::{SchemaError, Validate};
pub use self::{
    circuit_breaker::{CircuitBreaker, CircuitState},
    concurrency_limit::{ConcurrencyLimit, Priority},
    fallback::{FailedAttempt, FailedAttempts, Fallback},
    hedge::Hedge,
    layered::Layered,
    metrics::Metrics,
    rate_limit::RateLimit,
    retry::Retry,
    timeout::Timeout,
    trace::Trace,
};
use crate::{
    RequestContext,
    agent::{Agent, AgentError},
    tool::Tool,
};

/// A type that wraps agents and tools, and sees each request and each answer.
///
/// Each method receives a request and the agent or tool that is next. The default implementations
/// pass the request on, so a layer implements only the methods that matter to it. A layer may also
/// answer by itself, change the message, or call `next` several times.
///
/// If the caller disconnects, the future or stream of a method is dropped, which can happen at any
/// await point. A layer that takes a permit must therefore return it in `Drop`.
///
/// ```
/// use std::{sync::Arc, time::Instant};
///
/// use agentwire::{Agent, AgentError, Message, RequestContext, agent_fn, layer::Layer};
///
/// /// Prints how long each answer takes.
/// struct Timed;
///
/// impl Layer for Timed {
///     async fn process<A: Agent>(
///         &self,
///         message: Message,
///         context: RequestContext,
///         next: &Arc<A>,
///     ) -> Result<Message, AgentError> {
///         let start = Instant::now();
///         let reply = next.process(message, context).await;
///         println!("{} took {:?}", next.name(), start.elapsed());
///         reply
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), AgentError> {
/// let echo = agent_fn("echo", |message: Message| async move { Ok(message) }).layer(Timed);
/// let reply = echo.process(Message::user("hello"), RequestContext::new()).await?;
/// assert_eq!(reply.text(), Some("hello"));
/// # Ok(())
/// # }
/// ```
pub trait Layer: Send + Sync + 'static {
    /// Answers one message with one message, usually by calling `next`.
    ///
    /// # Errors
    ///
    /// Returns the error that the caller receives.
    fn process<A: Agent>(
        &self,
        message: Message,
        context: RequestContext,
        next: &Arc<A>,
    ) -> impl Future<Output = Result<Message, AgentError>> + Send {
        next.process(message, context)
    }

    /// Answers one message with a stream of messages, usually by calling `next`.
    ///
    /// # Errors
    ///
    /// The stream ends after the first error, which the caller receives.
    fn stream<A: Agent>(
        &self,
        message: Message,
        context: RequestContext,
        next: &Arc<A>,
    ) -> impl Stream<Item = Result<Message, AgentError>> + Send {
        next.stream(message, context)
    }

    /// Executes a tool, usually by calling `next`.
    ///
    /// # Errors
    ///
    /// Returns the error that the caller receives.
    fn execute<T: Tool>(
        &self,
        kwargs: Map,
        context: RequestContext,
        next: &Arc<T>,
    ) -> impl Future<Output = Result<ToolResult, AgentError>> + Send {
        next.execute(kwargs, context)
    }
}

/// A layer that several agents share.
impl<L: Layer> Layer for Arc<L> {
    fn process<A: Agent>(
        &self,
        message: Message,
        context: RequestContext,
        next: &Arc<A>,
    ) -> impl Future<Output = Result<Message, AgentError>> + Send {
        (**self).process(message, context, next)
    }

    fn stream<A: Agent>(
        &self,
        message: Message,
        context: RequestContext,
        next: &Arc<A>,
    ) -> impl Stream<Item = Result<Message, AgentError>> + Send {
        (**self).stream(message, context, next)
    }

    fn execute<T: Tool>(
        &self,
        kwargs: Map,
        context: RequestContext,
        next: &Arc<T>,
    ) -> impl Future<Output = Result<ToolResult, AgentError>> + Send {
        (**self).execute(kwargs, context, next)
    }
}
