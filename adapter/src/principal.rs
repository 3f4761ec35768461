//! Who sent a request: [`Principal`].

use std::{fmt, sync::Arc};

/// The identity as which a server has authenticated the sender of a request.
///
/// An agent or a tool reads the principal from
/// [`RequestContext::principal`](crate::RequestContext::principal). Cloning a principal is cheap.
///
/// ```
/// use agentwire::Principal;
///
/// let alice = Principal::new("alice").with_role("agent-consumer").with_namespace("prod");
/// assert!(alice.has_role("agent-consumer"));
/// assert_eq!(alice.namespace(), Some("prod"));
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Principal(Arc<Inner>);

#[derive(Clone, PartialEq, Eq, Hash)]
struct Inner {
    name: Box<str>,
    roles: Vec<String>,
    namespace: Option<String>,
}

impl Principal {
    /// Creates a principal without roles, in the default namespace.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self(Arc::new(Inner {
            name: name.into().into(),
            roles: Vec::new(),
            namespace: None,
        }))
    }

    /// Adds a role.
    #[must_use]
    pub fn with_role(mut self, role: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.0).roles.push(role.into());
        self
    }

    /// Sets the namespace.
    #[must_use]
    pub fn with_namespace(mut self, namespace: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.0).namespace = Some(namespace.into());
        self
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Returns the names of the roles.
    #[must_use]
    pub fn roles(&self) -> &[String] {
        &self.0.roles
    }

    /// Returns whether the principal has a role.
    #[must_use]
    pub fn has_role(&self, role: &str) -> bool {
        self.0.roles.iter().any(|own| own == role)
    }

    /// Returns the namespace, or `None` for the default namespace.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        self.0.namespace.as_deref()
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Principal")
            .field("name", &self.name())
            .field("roles", &self.roles())
            .field("namespace", &self.namespace())
            .finish()
    }
}
