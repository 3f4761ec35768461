//! What is recorded: [`AuditEvent`].

use std::fmt;

use agentwire_codec::{Map, internal::repeatable_text};

/// A security-relevant event. An event contains neither credentials nor contents of messages.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditEvent {
    /// What happened.
    pub kind: AuditKind,
    /// Whether the request was allowed.
    pub is_allowed: bool,
    /// The name of the principal, if it is known.
    pub principal: Option<String>,
    /// The peer that sent the request.
    pub peer: Option<String>,
    /// The namespace of the principal.
    pub namespace: Option<String>,
    /// The name of the agent.
    pub agent: Option<String>,
    /// The name of the tool.
    pub tool: Option<String>,
    /// The method of the request.
    pub method: Option<String>,
    /// The id of the request, which the caller chose.
    pub request_id: Option<String>,
    /// Why the request was denied.
    pub reason: Option<String>,
}

/// The kind of an [`AuditEvent`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AuditKind {
    /// A connection or a request was authenticated, or could not be.
    Authentication,
    /// A principal was allowed or denied to make a request.
    Authorization,
    /// A request exceeded a quota.
    Quota,
    /// An agent was registered or unregistered, or a registry refused to do so.
    Registration,
    /// A request was answered. Recorded only if
    /// [`Security::audit_calls`](crate::auth::Security::audit_calls) is set.
    Call,
    /// The policy has changed, or a changed policy was refused.
    PolicyChange,
    /// The certificate of the server has changed, or a changed certificate was refused.
    CertificateChange,
    /// Events were lost because the sink could not keep up.
    Dropped,
}

impl AuditKind {
    /// Returns the name of the kind in the record.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Authentication => "authentication",
            Self::Authorization => "authorization",
            Self::Quota => "quota",
            Self::Registration => "registration",
            Self::Call => "call",
            Self::PolicyChange => "policy_change",
            Self::CertificateChange => "certificate_change",
            Self::Dropped => "dropped",
        }
    }
}

impl fmt::Display for AuditKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl AuditEvent {
    /// Creates an event without details.
    #[must_use]
    pub fn new(kind: AuditKind, is_allowed: bool) -> Self {
        Self {
            kind,
            is_allowed,
            principal: None,
            peer: None,
            namespace: None,
            agent: None,
            tool: None,
            method: None,
            request_id: None,
            reason: None,
        }
    }

    /// Sets the reason.
    #[must_use]
    pub fn with_reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// Adds the event to the keys of a record. Texts that peers chose are cut.
    pub(super) fn put(&self, record: &mut Map) {
        record.insert("event", self.kind.as_str());
        record.insert(
            "outcome",
            if self.is_allowed { "allowed" } else { "denied" },
        );
        for (key, value) in [
            ("principal", &self.principal),
            ("peer", &self.peer),
            ("namespace", &self.namespace),
            ("agent", &self.agent),
            ("tool", &self.tool),
            ("method", &self.method),
            ("request_id", &self.request_id),
            ("reason", &self.reason),
        ] {
            if let Some(text) = value {
                record.insert(key, &*repeatable_text(text));
            }
        }
    }
}
