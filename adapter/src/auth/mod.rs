//! Authentication, permissions, quotas and an audit record for servers.
//!
//! A server with a [`Security`] checks every request before an agent, a registry or the target of a
//! proxy sees it, in this order:
//!
//! 1. An [`Authenticate`] finds out who sent the request: [`Tokens`], [`Users`], [`Certificates`],
//!    an [`AuthFile`] with all of them, or your own type.
//! 2. A [`Policy`] decides what the principal may do.
//! 3. A [`Quota`] limits how much the principal may use.
//! 4. An [`Audit`] records the decision, for example in a file of [`JsonLines`].
//!
//! Credentials are removed from a request before anything else sees them.

mod audit;
mod authenticate;
mod digest;
mod file;
mod identities;
#[cfg(feature = "jwt")]
mod jwt;
mod policy;
mod quota;
mod security;

pub use crate::server::gatekeeper::Gate;

pub(crate) use self::{
    audit::DynAudit,
    policy::Target,
    quota::{Exceeded, QuotaTable, StreamPlace},
};
pub use self::{
    audit::{
        Audit, AuditEvent, AuditKind, AuditProblem, JsonLines, JsonLinesBuilder, NotRecorded,
        Overload,
    },
    authenticate::{Authenticate, Denied},
    digest::TokenDigest,
    file::{AuthFile, AuthFileError},
    identities::{Certificates, Tokens, Users},
    policy::{Access, Policy, Role, Rule, Verb},
    quota::Quota,
    security::Security,
};
