//! Authenticates, authorizes, counts and records a request.

use std::{sync::Arc, time::Instant};

use agentwire_codec::{
    Body, EnvelopeType, ErrorCode, Map, RawBody, Request, RequestId, Value, WireError,
    internal::repeatable_text, map,
};
use agentwire_transport::internal::LogLimit;

use super::{
    Inner, QuotaKey,
    answers::Answers,
    inspect::{Asked, Change, Object},
};
use crate::{
    Credential, Principal,
    auth::{Access, AuditEvent, AuditKind, Denied, Exceeded, Policy, Target, Verb},
    connection::approximate_memory,
    credential::AUTHENTICATED_USER,
    description::DESCRIBE,
    server::{
        PeerKey,
        agents::{agent_not_found, tool_not_found},
        scope::{Scope, Seen},
        service::{Caller, Heartbeats, Work},
    },
};

/// Why a request is refused, for the record and for the caller.
pub(super) struct Refusal {
    kind: AuditKind,
    reason: String,
    error: WireError,
}

impl Inner {
    /// Admits a request and starts it.
    pub(super) async fn admit(
        self: Arc<Self>,
        id: RequestId,
        mut body: Body,
        mut caller: Caller,
    ) -> Result<Work, WireError> {
        // Without an authenticator, credentials are for the agents.
        let strips = !self.security.authenticators.is_empty();
        let mut asked = Asked::take(&mut body, &*self.service, strips);
        asked.credential = asked.credential.or_else(|| caller.credential.take());
        match self.check(&asked, &caller).await {
            Ok(principal) => caller.principal = principal,
            Err((principal, refusal)) => {
                caller.principal = principal;
                let refusal = self.charge(&caller).unwrap_or(refusal);
                return Err(self.refuse(&asked, &id, &caller, refusal).await);
            }
        }
        let quota = self.security.quota_of(caller.principal.as_ref());
        let key = quota_key(&caller);
        let bytes = match quota.bytes_per_minute {
            Some(_) => approximate_memory(&body, usize::MAX).saturating_add(id.to_text().len()),
            None => 0,
        };
        let mut place = None;
        if !quota.is_unlimited() {
            let quotas = self.quotas(&key);
            let counted = quotas.request(&key, &quota, bytes).and_then(|()| {
                if asked.has_stream {
                    place = quotas.stream(&key, &quota)?;
                }
                Ok(())
            });
            if let Err(exceeded) = counted {
                let refusal = rate_limited(exceeded);
                return Err(self.refuse(&asked, &id, &caller, refusal).await);
            }
        }
        // A change is recorded before it is made, because its sender may leave before the answer.
        // Renewals change nothing, and there are many of them.
        if asked.change != Some(Change::Renew) {
            let event = self.event(AuditKind::Authorization, true, &asked, &id, &caller);
            self.record(event).await?;
        }
        self.prepare(&mut body, &asked, &mut caller);
        let kind = body.kind();
        if !self.service.accepts(kind) {
            // The answer to a ping. It does not repeat the request, which had a credential.
            let text = format!("Expected 'request' but got '{kind}'");
            return Err(WireError::new(ErrorCode::INVALID_MESSAGE, text));
        }
        let started = self.service.start(&id, body, &caller);
        let started = started.map_err(|error| self.with_visible_names(error, &asked, &caller));
        let answers = Answers {
            gate: self,
            asked,
            id,
            caller,
            quota,
            key,
            _place: place,
        };
        answers.follow(started).await
    }

    /// Refuses a connection whose credential is not valid.
    #[cfg(any(feature = "http", feature = "websocket"))]
    pub(super) async fn admit_connection(self: Arc<Self>, caller: Caller) -> Result<(), WireError> {
        if caller.credential.is_none() || self.security.authenticators.is_empty() {
            return Ok(());
        }
        let denied = match self.authenticate(caller.credential.as_ref(), &caller).await {
            Ok(Some(_)) => return Ok(()),
            Ok(None) => Denied::new("unknown credential"),
            Err(denied) => denied,
        };
        let refusal = unauthenticated(&denied, "credential_refused");
        let refusal = self.charge(&caller).unwrap_or(refusal);
        let id = RequestId::unknown();
        Err(self.refuse(&Asked::connect(), &id, &caller, refusal).await)
    }

    /// Finds out who sent a request, and whether the sender may send it. If not, also returns the
    /// sender, if known.
    pub(super) async fn check(
        &self,
        asked: &Asked,
        caller: &Caller,
    ) -> Result<Option<Principal>, (Option<Principal>, Refusal)> {
        if self.security.authenticators.is_empty() {
            return Ok(None);
        }
        let found = self.authenticate(asked.credential.as_ref(), caller).await;
        let principal = match found {
            Ok(Some(principal)) => principal,
            Ok(None) if asked.credential.is_none() => {
                let denied = Denied::new("no credential");
                return Err((None, unauthenticated(&denied, "credential_required")));
            }
            Ok(None) => {
                let denied = Denied::new("unknown credential");
                return Err((None, unauthenticated(&denied, "credential_refused")));
            }
            Err(denied) => return Err((None, unauthenticated(&denied, "credential_refused"))),
        };
        if self.security.audit.is_some() && !caller.identity.is_recorded(&principal) {
            let mut event = AuditEvent::new(AuditKind::Authentication, true);
            event.principal = Some(principal.name().to_owned());
            event.namespace = principal.namespace().map(str::to_owned);
            event.peer = Some(peer_text(caller));
            let by = if asked.credential.is_some() {
                "credential"
            } else {
                "connection"
            };
            if let Err(error) = self.record(event.with_reason(by)).await {
                let refusal = Refusal {
                    kind: AuditKind::Authentication,
                    reason: "not recorded".to_owned(),
                    error,
                };
                return Err((Some(principal), refusal));
            }
            caller.identity.set_recorded(&principal);
        }
        let policy = self.security.current_policy();
        if self.may(&policy, &principal, asked) {
            Ok(Some(principal))
        } else {
            Err((Some(principal.clone()), denied(&principal, asked)))
        }
    }

    async fn authenticate(
        &self,
        credential: Option<&Credential>,
        caller: &Caller,
    ) -> Result<Option<Principal>, Denied> {
        if let Some(credential) = credential {
            for authenticator in &self.security.authenticators {
                let found = authenticator.request(&caller.peer, credential).await?;
                if found.is_some() {
                    return Ok(found);
                }
            }
            return Ok(None);
        }
        let revision = self.revision();
        if let Some(known) = caller.identity.known(revision) {
            return known;
        }
        let result = self.authenticate_connection(caller).await;
        caller.identity.remember(revision, result.clone());
        result
    }

    async fn authenticate_connection(&self, caller: &Caller) -> Result<Option<Principal>, Denied> {
        for authenticator in &self.security.authenticators {
            let found = authenticator.connection(&caller.peer).await?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Returns a number that changes whenever permissions may have changed.
    pub(super) fn revision(&self) -> u64 {
        let authenticators = self.security.authenticators.iter();
        authenticators.fold(0, |sum: u64, one| sum.wrapping_add(one.revision()))
    }

    fn may(&self, policy: &Policy, principal: &Principal, asked: &Asked) -> bool {
        if !self.security.serves(principal) {
            return false;
        }
        let namespace = self.security.only_namespace();
        let Some(access) = asked.access(namespace) else {
            return false;
        };
        let is_shared = principal.namespace().is_some() && namespace.is_none();
        if asked.is_raw && asked.is_about_registry() && is_shared {
            // The target of a proxy does not know the namespaces of the proxy's callers. A proxy of
            // one namespace has its own target.
            return false;
        }
        let own_name = match access.target {
            // The target of a proxy may ignore the name in a request.
            Target::Agent(_) if !asked.is_about_registry() => self.service.agent_for(""),
            _ => "",
        };
        let is_own_allowed = !asked.is_raw
            || own_name.is_empty()
            || policy.allows(
                principal,
                &Access {
                    target: Target::Agent(own_name),
                    ..access
                },
            );
        is_own_allowed && policy.allows(principal, &access)
    }

    /// Adds to a request what the service behind the gatekeeper needs to know about the caller.
    fn prepare(&self, body: &mut Body, asked: &Asked, caller: &mut Caller) {
        let Some(principal) = &caller.principal else {
            return;
        };
        if self.service.heartbeats() == Heartbeats::Renewals || asked.method == DESCRIBE {
            caller.scope = Some(Arc::new(self.scope(principal, asked)));
        } else if let (Body::Raw(raw), Some(_)) = (&mut *body, asked.change) {
            let text = |key: &str| raw.payload.get(key).and_then(Value::as_str);
            let scope = self.scope(principal, asked);
            let owner = scope.owner(text("owner"), text("instance"));
            raw.payload.insert("owner", owner);
        } else if let Body::Raw(raw) = &mut *body {
            self.prepare_ping(raw, asked, principal);
        }
        if self.security.exposes_user {
            let metadata = match body {
                Body::Request(Request::Process(call) | Request::Stream(call)) => {
                    Some(&mut call.message.metadata)
                }
                Body::Raw(raw) => raw_message_metadata(&mut raw.payload),
                _ => None,
            };
            if let Some(metadata) = metadata {
                let roles: Vec<&str> = principal.roles().iter().map(String::as_str).collect();
                let permissions: Vec<Value> = Vec::new();
                let user = map! {
                    "user_id": (principal.name()), "roles": roles, "permissions": permissions
                };
                metadata.insert(AUTHENTICATED_USER, user);
            }
        }
    }

    /// Prepares a heartbeat that has only a name. A server of agents takes it for a ping, and a
    /// registry renews the registrations with the name (PROTOCOL 12.4), so it keeps the name only
    /// if the caller may register it. The registry then finds those of the caller by their owner.
    fn prepare_ping(&self, raw: &mut RawBody, asked: &Asked, principal: &Principal) {
        if raw.kind != EnvelopeType::Heartbeat {
            return;
        }
        let name = raw.payload.get("agent_name").and_then(Value::as_str);
        let renewal = Asked::renewal(name.unwrap_or_default(), asked);
        if self.may(&self.security.current_policy(), principal, &renewal) {
            let owner = self.scope(principal, &renewal).owner(None, None);
            raw.payload.insert("owner", owner);
        } else {
            raw.payload.remove("agent_name");
        }
    }

    fn scope(&self, principal: &Principal, asked: &Asked) -> Scope {
        let policy = self.security.current_policy();
        let verb = asked.verb.unwrap_or(Verb::Lookup);
        let reader = principal.clone();
        let is_admin = principal.has_role("admin");
        Scope::new(
            principal.namespace(),
            principal.name(),
            is_admin,
            move |seen| match seen {
                Seen::Agent(name) => policy.allows(&reader, &Access::agent(verb, name)),
                // Who may run a tool, or see all agents, may know that there is a tool.
                Seen::Tool(name) => {
                    policy.allows(&reader, &Access::tool(name))
                        || policy.allows(&reader, &Access::agent(verb, ""))
                }
            },
        )
    }

    /// Removes the names that the caller may not know from the error for an unknown name.
    pub(super) fn with_visible_names(
        &self,
        error: WireError,
        asked: &Asked,
        caller: &Caller,
    ) -> WireError {
        let (Some(principal), Some(Value::List(known))) =
            (&caller.principal, error.details.get("available"))
        else {
            return error;
        };
        let policy = self.security.current_policy();
        let names = known.iter().filter_map(Value::as_str);
        match (&asked.object, asked.verb) {
            (object, Some(verb)) if error.code == ErrorCode::AGENT_NOT_FOUND => {
                let name = match object {
                    Object::Agent(name) => name,
                    _ => "",
                };
                let may = |known: &&str| policy.allows(principal, &Access::agent(verb, known));
                agent_not_found(name, &names.filter(may).collect::<Vec<_>>())
            }
            (Object::Tool(name), _) if error.code == ErrorCode::TOOL_NOT_FOUND => {
                let may = |known: &&str| policy.allows(principal, &Access::tool(known));
                tool_not_found(name, &names.filter(may).collect::<Vec<_>>())
            }
            _ => error,
        }
    }

    /// Counts a request towards the quota of its caller. Returns the refusal if the quota is used
    /// up. Refused requests count as well, so no peer can try credentials at a higher rate than
    /// requests.
    pub(super) fn charge(&self, caller: &Caller) -> Option<Refusal> {
        let quota = self.security.quota_of(caller.principal.as_ref());
        quota.requests_per_minute?;
        let key = quota_key(caller);
        let counted = self.quotas(&key).request(&key, &quota, 0);
        counted.err().map(rate_limited)
    }

    /// Records a refusal and returns the error for the caller.
    pub(super) async fn refuse(
        &self,
        asked: &Asked,
        id: &RequestId,
        caller: &Caller,
        refusal: Refusal,
    ) -> WireError {
        let Refusal {
            kind,
            reason,
            error,
        } = refusal;
        if let Some(count) = REFUSALS.record(Instant::now()) {
            let (peer, code) = (&caller.peer, &error.code);
            let principal = caller.principal.as_ref().map(Principal::name);
            tracing::warn!(%id, %peer, principal, %code, reason, count, "request denied");
        }
        let event = self
            .event(kind, false, asked, id, caller)
            .with_reason(reason);
        match self.record(event).await {
            Ok(()) => error,
            Err(not_recorded) => not_recorded,
        }
    }

    /// Creates an event about a request.
    pub(super) fn event(
        &self,
        kind: AuditKind,
        is_allowed: bool,
        asked: &Asked,
        id: &RequestId,
        caller: &Caller,
    ) -> AuditEvent {
        let mut event = AuditEvent::new(kind, is_allowed);
        if self.security.audit.is_none() {
            return event;
        }
        if let Some(principal) = &caller.principal {
            event.principal = Some(principal.name().to_owned());
            event.namespace = principal.namespace().map(str::to_owned);
        }
        event.peer = Some(peer_text(caller));
        match &asked.object {
            Object::Agent(name) => event.agent = Some(cut(name)),
            Object::Tool(name) => event.tool = Some(cut(name)),
            Object::Any => {}
        }
        event.method = Some(cut(&asked.method));
        event.request_id = Some(cut(&id.to_string()));
        event
    }

    /// # Errors
    ///
    /// Returns the answer to a request that cannot be recorded.
    pub(super) async fn record(&self, event: AuditEvent) -> Result<(), WireError> {
        let Some(audit) = &self.security.audit else {
            return Ok(());
        };
        audit.record(event).await.map_err(|_| {
            if let Some(count) = UNRECORDED.record(Instant::now()) {
                tracing::error!(count, "the audit record cannot be written");
            }
            let text = "The server cannot record requests";
            WireError::new(ErrorCode::AGENT_UNAVAILABLE, text)
                .with_details(Map::from([("reason", "audit")]))
        })
    }
}

fn quota_key(caller: &Caller) -> QuotaKey {
    match &caller.principal {
        Some(principal) => QuotaKey::Principal(principal.name().to_owned()),
        None => QuotaKey::Peer(PeerKey::of(&caller.peer)),
    }
}

fn unauthenticated(denied: &Denied, reason: &'static str) -> Refusal {
    let text = match reason {
        "credential_required" => "A credential is required",
        _ => "The credential is not valid",
    };
    Refusal {
        kind: AuditKind::Authentication,
        reason: denied.reason().to_owned(),
        error: WireError::new(ErrorCode::UNAUTHENTICATED, text)
            .with_details(Map::from([("reason", reason)])),
    }
}

fn denied(principal: &Principal, asked: &Asked) -> Refusal {
    let name = principal.name();
    let text = match (asked.verb, &asked.object) {
        (None, _) => format!("{name} may not use the method {:?}", cut(&asked.method)),
        (Some(verb), Object::Agent(agent)) if !agent.is_empty() => {
            format!("{name} may not {verb} {:?}", cut(agent))
        }
        (Some(_), Object::Tool(tool)) => format!("{name} may not execute {:?}", cut(tool)),
        (Some(verb), _) => format!("{name} may not {verb}"),
    };
    let mut details = Map::from([("reason", "policy")]);
    details.extend(asked.verb.map(|verb| ("verb", verb.as_str())));
    Refusal {
        kind: AuditKind::Authorization,
        reason: "policy".to_owned(),
        error: WireError::new(ErrorCode::PERMISSION_DENIED, text).with_details(details),
    }
}

fn rate_limited(exceeded: Exceeded) -> Refusal {
    let Exceeded {
        of,
        limit,
        retry_after,
    } = exceeded;
    // Rounded up, so that the request is accepted after this time.
    let millis = u64::try_from(retry_after.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
    let of_words = of.replace('_', " ");
    let wait = match millis {
        ..1000 => format!("{millis} ms"),
        _ => format!("{} s", millis.div_ceil(1000)),
    };
    let text = format!("The quota of {limit} {of_words} is used up; try again in {wait}");
    Refusal {
        kind: AuditKind::Quota,
        reason: of.to_owned(),
        error: WireError::new(ErrorCode::RATE_LIMITED, text)
            .with_details(map! {"retry_after_ms": millis, "of": of, "limit": limit}),
    }
}

/// Returns the address of the caller with its user, if the kernel reported one.
fn peer_text(caller: &Caller) -> String {
    match caller.peer.credentials() {
        Some(user) => match user.pid {
            Some(pid) => format!("{} uid={} pid={pid}", caller.peer, user.uid),
            None => format!("{} uid={}", caller.peer, user.uid),
        },
        None => caller.peer.to_string(),
    }
}

/// Returns the metadata of the message in a raw payload. Creates the metadata if the message has
/// none.
fn raw_message_metadata(payload: &mut Map) -> Option<&mut Map> {
    let Some(Value::Map(message)) = payload.get_mut("message") else {
        return None;
    };
    if !matches!(message.get("metadata"), Some(Value::Map(_))) {
        message.insert("metadata", Map::new());
    }
    match message.get_mut("metadata") {
        Some(Value::Map(metadata)) => Some(metadata),
        _ => None,
    }
}

fn cut(text: &str) -> String {
    repeatable_text(text).into_owned()
}

/// The rates are limited because any peer can cause refusals.
static REFUSALS: LogLimit = LogLimit::new();
static UNRECORDED: LogLimit = LogLimit::new();
