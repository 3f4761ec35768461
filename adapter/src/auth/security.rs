//! The security settings of a server: [`Security`].

use std::{fmt, sync::Arc};

use super::{
    audit::{Audit, DynAudit},
    authenticate::{Authenticate, DynAuthenticate},
    file::AuthFile,
    policy::Policy,
    quota::Quota,
};
use crate::Principal;

/// Who may send which requests to a server, and what is recorded.
///
/// Once a server has an authenticator, every request must be authenticated, and what the
/// [`Policy`] does not allow is denied. This applies to calls, streams, tools, pings, descriptions
/// and all methods of a registry.
///
/// ```
/// use agentwire::{LocalAgent, Message, Principal, RemoteAgent, agent_fn};
/// use agentwire::auth::{Security, TokenDigest, Tokens};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), agentwire::Error> {
/// let alice = Principal::new("alice").with_role("agent-consumer");
/// let tokens = Tokens::new().allow(TokenDigest::of("the token of alice"), alice);
/// let echo = agent_fn("echo", |message: Message| async move { Ok(message) });
/// let server = LocalAgent::builder(echo)
///     .endpoint("memory://security-page")
///     .security(Security::new().authenticate(tokens))
///     .serve()
///     .await?;
///
/// let message = || Message::user("hello");
/// let error = RemoteAgent::new(server.endpoint())?.process(message()).await.unwrap_err();
/// assert_eq!(error.code().as_str(), "UNAUTHENTICATED");
/// let with_token = message().with_metadata("authorization", "Bearer the token of alice");
/// RemoteAgent::new(server.endpoint())?.process(with_token).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
#[must_use]
pub struct Security {
    pub(crate) authenticators: Vec<Arc<dyn DynAuthenticate>>,
    pub(crate) file: Option<AuthFile>,
    policy: Arc<Policy>,
    quota: Quota,
    pub(crate) audit: Option<Arc<dyn DynAudit>>,
    pub(crate) audit_calls: bool,
    pub(crate) exposes_user: bool,
    namespace: Namespace,
}

impl Security {
    /// Creates settings without an authenticator, with the built-in roles.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the principals, roles and quotas from a file. The file is watched: see [`AuthFile`].
    pub fn from_file(file: AuthFile) -> Self {
        Self {
            authenticators: vec![Arc::new(file.clone())],
            file: Some(file),
            ..Self::default()
        }
    }

    /// Adds an authenticator. Call this method once for each authenticator.
    pub fn authenticate(mut self, authenticator: impl Authenticate) -> Self {
        self.authenticators.push(Arc::new(authenticator));
        self
    }

    /// Sets what the roles allow. By default, a policy has only the [built-in roles](Policy). With
    /// [`from_file`](Self::from_file), the policy of the file applies.
    pub fn authorize(mut self, policy: Policy) -> Self {
        self.policy = Arc::new(policy);
        self
    }

    /// Sets the quota of each caller. By default, nothing is limited. The quota of a file outweighs
    /// this setting.
    pub fn quota(mut self, quota: Quota) -> Self {
        self.quota = quota;
        self
    }

    /// Sets the sink for security-relevant events. By default, nothing is recorded.
    pub fn audit(mut self, sink: impl Audit) -> Self {
        self.audit = Some(Arc::new(sink));
        self
    }

    /// Sets whether the end of each request is recorded in addition to the decision to allow it.
    /// The default is `false`.
    pub fn audit_calls(mut self, calls: bool) -> Self {
        self.audit_calls = calls;
        self
    }

    /// Sets whether an agent finds the principal in the metadata of a message, under the key
    /// `authenticated_user`, as Python's servers write it. The default is `false`.
    ///
    /// An agent in Rust does not need this setting: see
    /// [`RequestContext::principal`](crate::RequestContext::principal). The setting is for agents
    /// behind a proxy. A value that a caller sends is always removed.
    pub fn expose_authenticated_user(mut self, expose: bool) -> Self {
        self.exposes_user = expose;
        self
    }

    /// Sets the namespace of the agents and tools of the server. Principals of other namespaces are
    /// then denied. By default, a server serves all namespaces.
    ///
    /// A registry keeps the agents of each namespace apart, and needs no such setting.
    pub fn namespace(mut self, namespace: impl Into<Arc<str>>) -> Self {
        self.namespace = Namespace::Only(Some(namespace.into()));
        self
    }

    /// Puts the agents and tools of the server into the default namespace. Principals that have a
    /// [namespace](Principal::namespace) are then denied. The last call of this method or of
    /// [`namespace`](Self::namespace) counts.
    pub fn default_namespace(mut self) -> Self {
        self.namespace = Namespace::Only(None);
        self
    }

    /// Returns whether the server serves the namespace of the principal.
    pub(crate) fn serves(&self, principal: &Principal) -> bool {
        match &self.namespace {
            Namespace::Any => true,
            Namespace::Only(only) => principal.namespace() == only.as_deref(),
        }
    }

    /// Returns the name of the only namespace that the server serves.
    pub(crate) fn only_namespace(&self) -> Option<&str> {
        match &self.namespace {
            Namespace::Any => None,
            Namespace::Only(only) => only.as_deref(),
        }
    }

    pub(crate) fn current_policy(&self) -> Arc<Policy> {
        match &self.file {
            Some(file) => file.policy(),
            None => Arc::clone(&self.policy),
        }
    }

    /// Returns the quota of a principal, or that of callers without one.
    pub(crate) fn quota_of(&self, principal: Option<&Principal>) -> Quota {
        let in_file = self.file.as_ref().and_then(|file| file.quota_of(principal));
        in_file.unwrap_or(self.quota)
    }
}

/// The namespaces that a server serves.
#[derive(Debug, Clone, Default)]
enum Namespace {
    #[default]
    Any,
    /// One of them. `None` is the default namespace.
    Only(Option<Arc<str>>),
}

impl fmt::Debug for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Security")
            .field("authenticators", &self.authenticators.len())
            .field("quota", &self.quota)
            .field("audits", &self.audit.is_some())
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}
