//! Finds out what a request asks for, and takes its credentials out.

use agentwire_codec::{Body, EnvelopeType, Map, Message, RawBody, Request, Value};

use crate::{
    Credential,
    auth::{Access, Target, Verb},
    credential::remove_authenticated_user,
    description::DESCRIBE,
    server::service::{Heartbeats, Service},
};

/// What a request asks for.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) method: String,
    /// The verb, or `None` for an unknown method, which is always denied.
    pub(super) verb: Option<Verb>,
    pub(super) object: Object,
    /// Whether the request changes or renews a registration.
    pub(super) change: Option<Change>,
    pub(super) has_stream: bool,
    pub(super) is_raw: bool,
    pub(super) credential: Option<Credential>,
}

/// What a request is about.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Object {
    Agent(String),
    Tool(String),
    /// The whole server, or all names.
    Any,
}

/// How a request changes a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Register,
    Renew,
    Unregister,
}

impl Asked {
    /// Reads a request. If `strips` is true, removes its credentials and what it says about its
    /// sender.
    pub(super) fn take(body: &mut Body, service: &dyn Service, strips: bool) -> Self {
        match body {
            Body::Request(Request::Process(call)) => {
                let agent = service.agent_for(&call.agent_name).to_owned();
                Self::new("process", Verb::Call, Object::Agent(agent))
                    .from_message(&mut call.message, strips)
            }
            Body::Request(Request::Stream(call)) => {
                let agent = service.agent_for(&call.agent_name).to_owned();
                let mut asked = Self::new("stream", Verb::Stream, Object::Agent(agent));
                asked.has_stream = true;
                asked.from_message(&mut call.message, strips)
            }
            Body::Request(Request::Execute(execute)) => {
                let tool = Object::Tool(execute.tool_name.clone());
                Self::new("execute", Verb::Execute, tool)
                    .from_metadata(&mut execute.metadata, strips)
            }
            Body::Request(Request::Other(payload)) => Self::of_payload(payload, strips),
            Body::Register(register) => Self::of_change(Change::Register, &register.agent_name)
                .from_metadata(&mut register.metadata, strips),
            Body::Heartbeat(beat) => {
                let is_ping = match service.heartbeats() {
                    Heartbeats::Pings => true,
                    _ => beat.agent_name.is_empty(),
                };
                let asked = if is_ping {
                    Self::new("heartbeat", Verb::Ping, Object::Any)
                } else {
                    Self::of_change(Change::Renew, &beat.agent_name)
                };
                asked.from_metadata(&mut beat.metadata, strips)
            }
            Body::Unregister(leave) => {
                let name = leave.agent_name.as_deref().unwrap_or_default();
                Self::of_change(Change::Unregister, name).from_metadata(&mut leave.metadata, strips)
            }
            Body::Raw(raw) => Self::of_raw(raw, service, strips),
            other => Self::unknown(other.kind().as_str()),
        }
    }

    pub(super) fn new(method: impl Into<String>, verb: Verb, object: Object) -> Self {
        Self {
            method: method.into(),
            verb: Some(verb),
            object,
            change: None,
            has_stream: false,
            is_raw: false,
            credential: None,
        }
    }

    /// Returns what a connection asks for before its first request.
    #[cfg(any(feature = "http", feature = "websocket"))]
    pub(super) fn connect() -> Self {
        Self::unknown("connect")
    }

    fn unknown(method: &str) -> Self {
        let mut asked = Self::new(method, Verb::Call, Object::Any);
        asked.verb = None;
        asked
    }

    fn of_change(change: Change, name: &str) -> Self {
        let method = match change {
            Change::Register => "register",
            Change::Renew => "heartbeat",
            Change::Unregister => "unregister",
        };
        let mut asked = Self::new(method, Verb::Register, Object::Agent(name.to_owned()));
        asked.change = Some(change);
        asked
    }

    /// Returns what a heartbeat asks for if a registry receives it.
    pub(super) fn renewal(name: &str, heartbeat: &Self) -> Self {
        let mut asked = Self::of_change(Change::Renew, name);
        asked.is_raw = heartbeat.is_raw;
        asked
    }

    /// Reads a request with a method that only some servers know.
    fn of_payload(payload: &mut Map, strips: bool) -> Self {
        let named = |payload: &Map, key: &str| match payload.get(key).and_then(Value::as_str) {
            None | Some("") => Object::Any,
            Some(name) => Object::Agent(name.to_owned()),
        };
        let method = payload
            .get("method")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let mut asked = match method {
            DESCRIBE => Self::new(DESCRIBE, Verb::Lookup, Object::Any),
            "list" => Self::new("list", Verb::Lookup, Object::Any),
            "lookup" => Self::new("lookup", Verb::Lookup, named(payload, "agent_name")),
            "find" => {
                let query = payload.get("query").and_then(Value::as_map);
                let object = query.map_or(Object::Any, |query| named(query, "name"));
                Self::new("find", Verb::Lookup, object)
            }
            "watch" => Self::new("watch", Verb::Watch, named(payload, "agent_name")),
            unknown => Self::unknown(unknown),
        };
        asked.has_stream = method == "watch";
        match payload.get_mut("metadata") {
            Some(Value::Map(metadata)) => asked.from_metadata(metadata, strips),
            _ => asked,
        }
    }

    /// Reads a request that is forwarded without being decoded.
    fn of_raw(raw: &mut RawBody, service: &dyn Service, strips: bool) -> Self {
        let payload = &raw.payload;
        let text = |key: &str| payload.get(key).and_then(Value::as_str).unwrap_or_default();
        let method = text("method");
        let agent = || Object::Agent(service.agent_for(text("agent_name")).to_owned());
        let mut asked = match (raw.kind, method) {
            (EnvelopeType::Request, "process") => Self::new("process", Verb::Call, agent()),
            (EnvelopeType::Request, "stream") => Self::new("stream", Verb::Stream, agent()),
            (EnvelopeType::Request, "execute") => {
                let tool = Object::Tool(text("tool_name").to_owned());
                Self::new("execute", Verb::Execute, tool)
            }
            (EnvelopeType::Request, _) => Self::of_payload(&mut raw.payload, strips),
            (EnvelopeType::Register, _) => Self::of_change(Change::Register, text("agent_name")),
            (EnvelopeType::Unregister, _) => {
                Self::of_change(Change::Unregister, text("agent_name"))
            }
            (EnvelopeType::Heartbeat, _) => {
                let is_renewal = ["endpoint", "instance", "owner"]
                    .iter()
                    .any(|key| !text(key).is_empty());
                if is_renewal {
                    Self::of_change(Change::Renew, text("agent_name"))
                } else {
                    Self::new("heartbeat", Verb::Ping, Object::Any)
                }
            }
            (kind, _) => Self::unknown(kind.as_str()),
        };
        asked.has_stream |= asked.verb == Some(Verb::Stream);
        asked.is_raw = true;
        if let Some(Value::Map(metadata)) = raw.payload.get_mut("metadata") {
            asked = asked.from_metadata(metadata, strips);
        }
        if let Some(Value::Map(message)) = raw.payload.get_mut("message") {
            if let Some(Value::Map(metadata)) = message.get_mut("metadata") {
                asked = asked.from_metadata(metadata, strips);
            }
        }
        asked
    }

    #[expect(
        clippy::wrong_self_convention,
        reason = "says where the credential comes from"
    )]
    fn from_message(self, message: &mut Message, strips: bool) -> Self {
        self.from_metadata(&mut message.metadata, strips)
    }

    #[expect(
        clippy::wrong_self_convention,
        reason = "says where the credential comes from"
    )]
    fn from_metadata(mut self, metadata: &mut Map, strips: bool) -> Self {
        if strips && !metadata.is_empty() {
            let taken = Credential::take(metadata);
            self.credential = self.credential.or(taken);
            remove_authenticated_user(metadata);
        }
        self
    }

    /// Returns what must be allowed, or `None` for an unknown method.
    pub(super) fn access<'a>(&'a self, namespace: Option<&'a str>) -> Option<Access<'a>> {
        Some(Access {
            verb: self.verb?,
            target: match &self.object {
                Object::Agent(name) => Target::Agent(name),
                Object::Tool(name) => Target::Tool(name),
                // The answers of another server are not filtered, so all names must be allowed.
                Object::Any
                    if self.is_raw && (self.is_about_registry() || self.method == DESCRIBE) =>
                {
                    Target::Agent("")
                }
                Object::Any => Target::Any,
            },
            namespace,
        })
    }

    /// Returns whether the request reads or changes a registry.
    pub(super) fn is_about_registry(&self) -> bool {
        self.change.is_some() || matches!(&*self.method, "lookup" | "list" | "find" | "watch")
    }
}
