//! The context of a request: [`RequestContext`].

mod extensions;

use std::{
    fmt,
    sync::{Arc, LazyLock},
    time::Duration,
};

use agentwire_codec::{RequestId, TraceContext};
use agentwire_transport::Peer;
use tokio::time::Instant;

use crate::{
    Principal,
    observer::{Observer, Observers},
};

pub use self::extensions::Extensions;

/// Information about a request, which an agent or a tool receives in addition to the message.
///
/// The server passes a context to [`Agent::process`], [`Agent::stream`] and [`Tool::execute`]. An
/// agent that calls another agent through the [`Agent`] trait should pass the same context. A
/// [`RemoteAgent`] then stops waiting at the deadline of the original request. Cloning a context is
/// cheap, because its values are reference counted.
///
/// To call an agent directly, for example in a test, create a context with [`RequestContext::new`]:
///
/// ```
/// use agentwire::{Agent, Message, RequestContext, agent_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let agent = agent_fn("whoami", |_: Message, context: RequestContext| async move {
///     Ok(Message::agent(context.agent_name().unwrap_or("nobody").to_owned()))
/// });
/// let context = RequestContext::new().with_agent_name("whoami");
/// let reply = agent.process(Message::user("?"), context).await?;
/// assert_eq!(reply.text(), Some("whoami"));
/// # Ok(())
/// # }
/// ```
///
/// [`Agent`]: crate::Agent
/// [`Agent::process`]: crate::Agent::process
/// [`Agent::stream`]: crate::Agent::stream
/// [`RemoteAgent`]: crate::RemoteAgent
/// [`Tool::execute`]: crate::Tool::execute
#[derive(Clone)]
pub struct RequestContext {
    request_id: RequestId,
    agent_name: Option<Arc<str>>,
    peer: Peer,
    principal: Option<Principal>,
    deadline: Option<Instant>,
    trace_context: Option<Arc<TraceContext>>,
    observers: Observers,
    extensions: Extensions,
}

impl RequestContext {
    /// Creates a context for a call within this process. The context has a random request id and no
    /// deadline. Its peer is displayed as "this process".
    #[must_use]
    pub fn new() -> Self {
        Self::from_peer(RequestId::random(), THIS_PROCESS.clone())
    }

    pub(crate) fn from_peer(request_id: RequestId, peer: Peer) -> Self {
        Self {
            request_id,
            agent_name: None,
            peer,
            principal: None,
            deadline: None,
            trace_context: None,
            observers: Observers::default(),
            extensions: Extensions::new(),
        }
    }

    pub(crate) fn set_agent_name(&mut self, name: Arc<str>) {
        self.agent_name = Some(name);
    }

    pub(crate) fn set_trace_context(&mut self, trace: Option<Arc<TraceContext>>) {
        self.trace_context = trace;
    }

    pub(crate) fn trace(&self) -> Option<&Arc<TraceContext>> {
        self.trace_context.as_ref()
    }

    /// Returns the observers to which layers report.
    pub(crate) fn observers(&self) -> &Observers {
        &self.observers
    }

    pub(crate) fn set_observers(&mut self, observers: &Observers) {
        self.observers = observers.clone();
    }

    pub(crate) fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = Some(deadline);
    }

    /// Sets the id of the request.
    #[must_use]
    pub fn with_request_id(mut self, id: impl Into<RequestId>) -> Self {
        self.request_id = id.into();
        self
    }

    /// Sets the name of the agent that the caller requested.
    #[must_use]
    pub fn with_agent_name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.agent_name = Some(name.into());
        self
    }

    /// Sets the peer.
    #[must_use]
    pub fn with_peer(mut self, peer: impl Into<Peer>) -> Self {
        self.peer = peer.into();
        self
    }

    /// Sets the principal.
    #[must_use]
    pub fn with_principal(mut self, principal: impl Into<Option<Principal>>) -> Self {
        self.principal = principal.into();
        self
    }

    /// Sets the deadline.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Instant) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Sets the trace context.
    #[must_use]
    pub fn with_trace_context(mut self, trace: impl Into<Option<TraceContext>>) -> Self {
        self.trace_context = trace.into().map(Arc::new);
        self
    }

    /// Adds an observer, to which the [layers](crate::layer) of the request report. A server adds
    /// its own observers, so this method is for calls that do not come from a server.
    #[must_use]
    pub fn with_observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observers.add(observer);
        self
    }

    /// Returns the id of the request. Callers choose the ids of their requests, so two callers may
    /// use the same id.
    #[must_use]
    pub fn request_id(&self) -> &RequestId {
        &self.request_id
    }

    /// Returns the name of the agent that the caller requested. A server with a single agent may
    /// accept any name, so the name can differ from [`Agent::name`](crate::Agent::name).
    ///
    /// Returns `None` if the caller did not name an agent. Requests for tools never name an agent,
    /// because tools belong to the server.
    #[must_use]
    pub fn agent_name(&self) -> Option<&str> {
        self.agent_name.as_deref()
    }

    /// Returns the peer that sent the request.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Returns the principal as which the server has authenticated the caller. Returns `None` if
    /// the server does not authenticate its callers.
    #[must_use]
    pub fn principal(&self) -> Option<&Principal> {
        self.principal.as_ref()
    }

    /// Returns the deadline of the request, if there is one. At the deadline, the server cancels
    /// the request.
    ///
    /// The deadline is the instant at which the server's
    /// [`handler_timeout`](crate::LocalAgentBuilder::handler_timeout) expires, or an earlier
    /// deadline that the caller has [sent](crate::RemoteAgentBuilder::send_deadlines). A stream
    /// only has a deadline that its caller has sent, because the timeout is restarted after each
    /// chunk.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Returns the time until the [deadline](Self::deadline), if there is one. The result is zero
    /// once the deadline has passed.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        let deadline = self.deadline?;
        Some(deadline.saturating_duration_since(Instant::now()))
    }

    /// Returns the trace context of the request, if there is one. If the server exports spans, this
    /// is the context of the span of the request, otherwise the context that the caller has sent.
    ///
    /// A [`RemoteAgent`](crate::RemoteAgent) that
    /// [sends trace contexts](crate::RemoteAgentBuilder::send_trace_context) carries the context of
    /// the request that is being processed on by itself.
    #[must_use]
    pub fn trace_context(&self) -> Option<&TraceContext> {
        self.trace_context.as_deref()
    }

    /// Returns the values that middleware has attached to the request.
    #[must_use]
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// Returns a mutable reference to the attached values, so that middleware can attach values.
    ///
    /// ```
    /// use agentwire::RequestContext;
    ///
    /// #[derive(Debug, PartialEq)]
    /// struct Tenant(u32);
    ///
    /// let mut context = RequestContext::new();
    /// context.extensions_mut().insert(Tenant(7));
    /// assert_eq!(context.extensions().get(), Some(&Tenant(7)));
    /// ```
    #[must_use]
    pub fn extensions_mut(&mut self) -> &mut Extensions {
        &mut self.extensions
    }
}

impl Default for RequestContext {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for RequestContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestContext")
            .field("request_id", &self.request_id)
            .field("agent_name", &self.agent_name)
            .field("peer", &self.peer)
            .field("principal", &self.principal)
            .field("remaining", &self.remaining())
            .finish_non_exhaustive()
    }
}

static THIS_PROCESS: LazyLock<Peer> = LazyLock::new(|| Peer::from("this process"));

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_remaining_time_ends_at_zero() {
        let context = RequestContext::new();
        assert_eq!(context.remaining(), None);
        let second = Duration::from_secs(1);
        let context = context.with_deadline(Instant::now() + 2 * second);
        for left in [2 * second, second, Duration::ZERO, Duration::ZERO] {
            assert_eq!(context.remaining(), Some(left));
            tokio::time::advance(second).await;
        }
    }
}
