//! The agents and tools of a server.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use agentwire_codec::{
    Body, Delivery, EnvelopeType, ErrorCode, Map, Message, Request, RequestId, Response, Value,
    WireError, internal::repeatable_text, map,
};
use agentwire_registry::Version;
use agentwire_transport::internal::MAX_TIMEOUT;
use tokio::time::Instant;

use super::{
    guard::Guard,
    invocation::Invocation,
    scope::{Scope, Seen},
    service::{Caller, Service, Work, method_of, unknown_method},
};
use crate::{
    Error, RequestContext,
    agent::{DynAgent, SharedAgent},
    credential::remove_authenticated_user,
    description::{AgentDescription, DESCRIBE, ServerDescription, ToolDescription},
    observer::{Observers, Subject},
    tool::DynTool,
    trace,
};

/// The [`Service`] of a [`LocalAgent`](crate::LocalAgent).
#[derive(Clone)]
pub(super) struct Agents {
    /// The agent that was passed to the constructor of the builder. Its name is the name of the
    /// server.
    first: Arc<dyn DynAgent>,
    first_name: Arc<str>,
    /// The agents by name. The map is empty if the first agent answers all calls.
    agents: BTreeMap<Arc<str>, Arc<dyn DynAgent>>,
    names: NamePolicy,
    tools: BTreeMap<Arc<str>, Arc<dyn DynTool>>,
    /// The timeout for each answer.
    handler_timeout: Option<Duration>,
    /// The version and the metadata in the descriptions of the agents.
    version: Option<Version>,
    metadata: Map,
    /// Whether agents see the key `authenticated_user` that a caller sends.
    trusts_callers: bool,
    /// Whether replies contain the trace context of the request.
    traces_replies: bool,
    /// The observers to which layers report.
    observers: Observers,
}

/// The names under which a single agent can be called. If a server has several agents, a call must
/// contain the exact name of its agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NamePolicy {
    /// The agent answers calls under any name and calls without a name.
    Any,
    /// The agent answers calls under its own name and calls without a name.
    OwnOrNone,
    /// The agent only answers calls under its own name.
    Own,
}

impl Agents {
    /// # Errors
    ///
    /// Returns [`Error::InvalidSetting`] if an agent or a tool has no name, or the same name as
    /// another one.
    pub(super) fn new(
        agents: Vec<SharedAgent>,
        names: NamePolicy,
        tools: Vec<Arc<dyn DynTool>>,
        handler_timeout: Option<Duration>,
    ) -> Result<Self, Error> {
        let agents: Vec<_> = agents.into_iter().map(SharedAgent::into_inner).collect();
        let first = agents
            .first()
            .cloned()
            .ok_or(invalid("agent", "a server needs at least one agent"))?;
        let is_single = agents.len() == 1;
        let names = match names {
            NamePolicy::OwnOrNone if !is_single => NamePolicy::Own,
            // An agent without a name cannot be called under its own name.
            NamePolicy::OwnOrNone if first.name().is_empty() => NamePolicy::Any,
            names => names,
        };
        let by_name = if is_single && names == NamePolicy::Any {
            BTreeMap::new()
        } else {
            by_name("agent", agents, |agent| agent.name())?
        };
        Ok(Self {
            first_name: first.name().into(),
            first,
            agents: by_name,
            names,
            tools: self::by_name("tool", tools, |tool| tool.name())?,
            handler_timeout,
            version: None,
            metadata: Map::new(),
            trusts_callers: false,
            traces_replies: false,
            observers: Observers::default(),
        })
    }

    /// Sets the version and the metadata in the descriptions of the agents.
    pub(super) fn described_by(mut self, version: Option<Version>, metadata: Map) -> Self {
        self.version = version;
        self.metadata = metadata;
        self
    }

    /// Sets whether agents see the key `authenticated_user` that a caller sends.
    pub(super) fn trusting_callers(mut self, trust: bool) -> Self {
        self.trusts_callers = trust;
        self
    }

    /// Sets whether replies contain the trace context of the request.
    pub(super) fn tracing_replies(mut self, trace: bool) -> Self {
        self.traces_replies = trace;
        self
    }

    /// Sets the observers to which layers report.
    pub(super) fn observed_by(mut self, observers: &Observers) -> Self {
        self.observers = observers.clone();
        self
    }

    /// Removes what a caller says about its own identity. If the caller was authenticated, the
    /// gatekeeper has already replaced it.
    fn remove_claims(&self, message: &mut Message, caller: &Caller) {
        if caller.principal.is_none() && !self.trusts_callers && !message.metadata.is_empty() {
            remove_authenticated_user(&mut message.metadata);
        }
    }

    /// Returns the first agent, whose name is the name of the server.
    pub(super) fn first(&self) -> &Arc<dyn DynAgent> {
        &self.first
    }

    fn agent(&self, name: &str) -> Result<&Arc<dyn DynAgent>, WireError> {
        if self.agents.is_empty() || (name.is_empty() && self.names == NamePolicy::OwnOrNone) {
            return Ok(&self.first);
        }
        self.agents.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.agents.keys().map(|name| &**name).collect();
            agent_not_found(name, &known)
        })
    }

    /// Returns the name of the agent that answers a request for `requested`, if there is one.
    fn served(&self, requested: &str) -> Option<Arc<str>> {
        let name = self.agent_for(requested);
        if *name == *self.first_name {
            return Some(Arc::clone(&self.first_name));
        }
        let (known, _) = self.agents.get_key_value(name)?;
        Some(Arc::clone(known))
    }

    fn tool(&self, name: &str) -> Result<&Arc<dyn DynTool>, WireError> {
        self.tools.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.tools.keys().map(|name| &**name).collect();
            tool_not_found(name, &known)
        })
    }

    /// Adds the agent name that the caller requested. The names of known agents are stored in an
    /// `Arc`, so most calls do not allocate.
    fn set_name(&self, context: &mut RequestContext, name: &str) {
        if name.is_empty() {
            return;
        }
        context.set_agent_name(if *name == *self.first_name {
            Arc::clone(&self.first_name)
        } else if let Some((known, _)) = self.agents.get_key_value(name) {
            Arc::clone(known)
        } else {
            name.into()
        });
    }

    /// Sets the deadline to the earlier one of the handler timeout and the caller's deadline.
    fn set_deadline(&self, context: &mut RequestContext, sent: Option<Instant>) {
        let own = self.handler_timeout.map(|limit| Instant::now() + limit);
        if let Some(deadline) = earlier(own, sent) {
            context.set_deadline(deadline);
        }
    }

    /// Returns the capabilities of the first agent, including the tools of the server.
    pub(super) fn capabilities(&self) -> Map {
        self.capabilities_of(&*self.first)
    }

    /// Returns the name of each agent with its capabilities, including the tools of the server.
    pub(super) fn offers(&self) -> Vec<(&str, Map)> {
        let offer = |agent: &Arc<dyn DynAgent>| self.capabilities_of(&**agent);
        if self.agents.is_empty() {
            return vec![(self.first.name(), offer(&self.first))];
        }
        let agents = self.agents.iter();
        agents
            .map(|(name, agent)| (&**name, offer(agent)))
            .collect()
    }

    /// Returns the capabilities of an agent. If the agent does not define the capability `tools`,
    /// the capability contains the tools of the server.
    fn capabilities_of(&self, agent: &dyn DynAgent) -> Map {
        let mut capabilities = agent.capabilities();
        if !self.tools.is_empty() && !capabilities.contains_key("tools") {
            let tools = self.tool_descriptions().map(ToolDescription::into_map);
            capabilities.insert("tools", tools.collect::<Value>());
        }
        capabilities
    }

    fn tool_descriptions(&self) -> impl Iterator<Item = ToolDescription> {
        let tools = self.tools.values();
        tools.map(|tool| ToolDescription::new(tool.name(), tool.description(), tool.parameters()))
    }

    /// Describes what the caller may see.
    fn description(&self, scope: Option<&Scope>) -> ServerDescription {
        let is_seen = |seen: Seen<'_>| scope.is_none_or(|scope| scope.sees(seen));
        let describe = |name: &str, agent: &dyn DynAgent| AgentDescription {
            name: name.to_owned(),
            version: self.version.clone(),
            capabilities: agent.capabilities(),
            metadata: self.metadata.clone(),
        };
        let only = [(self.first.name(), &self.first)];
        let agents: Vec<_> = if self.agents.is_empty() {
            only.into()
        } else {
            self.agents
                .iter()
                .map(|(name, agent)| (&**name, agent))
                .collect()
        };
        let agents = agents
            .into_iter()
            .filter(|(name, _)| is_seen(Seen::Agent(name)));
        let tools = self.tool_descriptions();
        ServerDescription {
            agents: agents
                .map(|(name, agent)| describe(name, &**agent))
                .collect(),
            tools: tools
                .filter(|tool| is_seen(Seen::Tool(&tool.name)))
                .collect(),
        }
    }

    /// Answers a request for the description of the server. Agents and tools describe themselves,
    /// so the answer must be guarded against their panics.
    async fn describe(self, id: RequestId, scope: Option<Arc<Scope>>) -> Body {
        let span = tracing::debug_span!("request", %id, method = DESCRIBE);
        let guard = Guard {
            kind: "server",
            name: &self.first_name,
            id: &id,
            span: &span,
            limit: None,
        };
        let unlimited = |_| WireError::new(ErrorCode::AGENT_TIMEOUT, "timed out");
        match guard
            .run(async { self.description(scope.as_deref()) }, unlimited)
            .await
        {
            Ok(description) => Response::Other(description.into_payload()).into(),
            Err(error) => Body::Error(error),
        }
    }
}

impl Service for Agents {
    #[cfg(feature = "http")]
    fn name(&self) -> &str {
        &self.first_name
    }

    fn accepts(&self, kind: EnvelopeType) -> bool {
        kind == EnvelopeType::Request
    }

    fn agent_for<'a>(&'a self, requested: &'a str) -> &'a str {
        // A single agent may answer calls under any name.
        if self.agents.is_empty() || (requested.is_empty() && self.names == NamePolicy::OwnOrNone) {
            &self.first_name
        } else {
            requested
        }
    }

    fn subject(&self, body: &Body) -> Subject {
        let (method, name) = match body {
            Body::Request(Request::Process(call)) => ("process", self.served(&call.agent_name)),
            Body::Request(Request::Stream(call)) => ("stream", self.served(&call.agent_name)),
            Body::Request(Request::Execute(call)) => {
                let tool = self.tools.get_key_value(call.tool_name.as_str());
                ("execute", tool.map(|(name, _)| Arc::clone(name)))
            }
            other => (method_of(other), None),
        };
        Subject { method, name }
    }

    fn start(&self, id: &RequestId, body: Body, caller: &Caller) -> Result<Work, WireError> {
        let Body::Request(request) = body else {
            // Unreachable, because `accepts` refuses all other types.
            return Err(WireError::new(ErrorCode::INVALID_MESSAGE, "Not a request"));
        };
        let limit = self.handler_timeout;
        let mut context = RequestContext::from_peer(id.clone(), caller.peer.clone())
            .with_principal(caller.principal.clone());
        context.set_observers(&self.observers);
        let carried = caller.carried.as_deref();
        let trace = trace::read_from(&request).or_else(|| carried?.trace.clone());
        let carried_deadline = carried.and_then(|carried| carried.deadline);
        let replies = self.traces_replies;
        Ok(match request {
            Request::Process(mut call) => {
                self.remove_claims(&mut call.message, caller);
                let sent = sent_deadline(&call.delivery);
                let invocation =
                    Invocation::new(self.agent(&call.agent_name)?, "process", id, limit)
                        .until(sent)
                        .traced(trace, &mut context, replies);
                self.set_name(&mut context, &call.agent_name);
                self.set_deadline(&mut context, earlier(sent, carried_deadline));
                Work::One(Box::pin(invocation.process(call.message, context)))
            }
            Request::Stream(mut call) => {
                self.remove_claims(&mut call.message, caller);
                let sent = sent_deadline(&call.delivery);
                let invocation =
                    Invocation::new(self.agent(&call.agent_name)?, "stream", id, limit)
                        .until(sent)
                        .traced(trace, &mut context, replies);
                self.set_name(&mut context, &call.agent_name);
                if let Some(deadline) = earlier(sent, carried_deadline) {
                    context.set_deadline(deadline);
                }
                Work::Many(Box::pin(invocation.stream(call.message, context)))
            }
            Request::Execute(call) => {
                let sent = sent_deadline(&call.delivery);
                let invocation = Invocation::new(self.tool(&call.tool_name)?, "execute", id, limit)
                    .until(sent)
                    .traced(trace, &mut context, replies);
                self.set_deadline(&mut context, earlier(sent, carried_deadline));
                Work::One(Box::pin(invocation.execute(call.kwargs, context)))
            }
            request if request.method() == Some(DESCRIBE) => Work::One(Box::pin(
                self.clone().describe(id.clone(), caller.scope.clone()),
            )),
            request => return Err(unknown_method(&request)),
        })
    }
}

/// Returns the deadline that a caller has sent (PROTOCOL 16.2). The time in transit is not known.
fn sent_deadline(delivery: &Delivery) -> Option<Instant> {
    let left = Duration::from_millis(delivery.deadline_ms?);
    Some(Instant::now() + left.min(MAX_TIMEOUT))
}

fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

fn invalid(setting: &'static str, problem: &'static str) -> Error {
    Error::InvalidSetting { setting, problem }
}

fn by_name<T>(
    setting: &'static str,
    things: Vec<T>,
    name: impl Fn(&T) -> &str,
) -> Result<BTreeMap<Arc<str>, T>, Error> {
    let mut by_name = BTreeMap::new();
    for thing in things {
        let name = Arc::<str>::from(name(&thing));
        if name.is_empty() {
            return Err(invalid(setting, "must have a name"));
        }
        if by_name.insert(name, thing).is_some() {
            return Err(invalid(setting, "names must be unique"));
        }
    }
    Ok(by_name)
}

impl fmt::Debug for Agents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agents")
            .field("first", &self.first.name())
            .field("agents", &self.agents.keys().collect::<Vec<_>>())
            .field("tools", &self.tools.keys().collect::<Vec<_>>())
            .finish()
    }
}

/// Returns the error for a name that no agent has, with the names that there are.
pub(super) fn agent_not_found(name: &str, known: &[&str]) -> WireError {
    let shown = repeatable_text(name);
    let problem = match name {
        "" => "No agent is named".to_owned(),
        _ => format!("Agent not found: {shown}"),
    };
    WireError::new(ErrorCode::AGENT_NOT_FOUND, with_known(&problem, known))
        .with_details(map! {"agent_name": (&*shown), "available": (known.to_vec())})
}

/// Returns the error for a name that no tool has, with the names that there are.
pub(super) fn tool_not_found(name: &str, known: &[&str]) -> WireError {
    let shown = repeatable_text(name);
    let problem = format!("Tool not found: {shown}");
    WireError::new(ErrorCode::TOOL_NOT_FOUND, with_known(&problem, known))
        .with_details(map! {"tool_name": (&*shown), "available": (known.to_vec())})
}

fn with_known(problem: &str, known: &[&str]) -> String {
    match known {
        [] => format!("{problem}; there are none here"),
        known => format!("{problem}; there are: {}", known.join(", ")),
    }
}
