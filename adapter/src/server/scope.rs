//! What one caller sees of a registry: [`Scope`].

use std::{borrow::Cow, fmt, sync::Arc};

use agentwire_codec::{Value, WireError};
use agentwire_registry::{Registration, check_name};

/// The part of a registry that one caller sees and changes (PROTOCOL 14.6).
///
/// A registry keeps the agents of a namespace under names with a prefix, so that the names of
/// different namespaces never meet. Callers see the names without the prefix.
pub(crate) struct Scope {
    /// The prefix, or an empty text for the default namespace.
    prefix: String,
    /// The text before the owner keys of the caller's principal.
    owner: String,
    /// Whether the caller may unregister the agents of others.
    is_admin: bool,
    sees: Box<Sees>,
}

type Sees = dyn Fn(Seen<'_>) -> bool + Send + Sync;

/// What a caller may or may not see.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(
    not(feature = "auth"),
    expect(dead_code, reason = "read by the gatekeeper")
)]
pub(crate) enum Seen<'a> {
    Agent(&'a str),
    Tool(&'a str),
}

impl Scope {
    #[cfg_attr(
        not(feature = "auth"),
        expect(dead_code, reason = "made by the gatekeeper")
    )]
    pub(crate) fn new(
        namespace: Option<&str>,
        principal: &str,
        is_admin: bool,
        sees: impl Fn(Seen<'_>) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self {
            prefix: namespace
                .map(|namespace| format!("@{namespace}/"))
                .unwrap_or_default(),
            owner: format!("{}:{principal}:", principal.len()),
            is_admin,
            sees: Box::new(sees),
        }
    }

    /// Returns the name under which a registry keeps the agents with this name. The default
    /// namespace has no name that looks like one of another namespace.
    pub(crate) fn stored(&self, name: String) -> Option<String> {
        if self.prefix.is_empty() {
            return (!name.starts_with('@')).then_some(name);
        }
        // No registry has an agent with an invalid name, which must not become valid.
        let is_valid = check_name(&name).is_ok();
        Some(if is_valid {
            format!("{}{name}", self.prefix)
        } else {
            name
        })
    }

    /// Returns the name that the caller sees, or `None` if the caller does not see the agent.
    pub(crate) fn shown<'a>(&self, stored: &'a str) -> Option<&'a str> {
        let name = stored.strip_prefix(&*self.prefix)?;
        let is_other = self.prefix.is_empty() && name.starts_with('@');
        (!is_other && self.sees(Seen::Agent(name))).then_some(name)
    }

    /// Returns whether the caller sees an agent or a tool of a server.
    pub(crate) fn sees(&self, seen: Seen<'_>) -> bool {
        (self.sees)(seen)
    }

    /// Returns the registration that the caller sees. The caller must see its name.
    pub(crate) fn show(&self, stored: &Arc<Registration>) -> Arc<Registration> {
        match stored.name.strip_prefix(&*self.prefix) {
            Some(name) if !self.prefix.is_empty() => {
                let mut shown = Registration::clone(stored);
                shown.name = name.to_owned();
                Arc::new(shown)
            }
            _ => Arc::clone(stored),
        }
    }

    /// Returns the prefix of all names of the namespace.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Returns the owner key of a registration. The key contains the principal, so that no other
    /// principal can renew, replace or remove the registration. A process without an owner key is
    /// told apart by its instance id.
    pub(crate) fn owner(&self, owner: Option<&str>, instance: Option<&str>) -> String {
        let present = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
        let own = present(owner).map_or_else(
            || format!("i{}", present(instance).unwrap_or_default()),
            |owner| format!("o{owner}"),
        );
        format!("{}{own}", self.owner)
    }

    pub(crate) fn is_admin(&self) -> bool {
        self.is_admin
    }

    /// Removes the prefix from an error.
    pub(crate) fn show_error(&self, mut error: WireError) -> WireError {
        if self.prefix.is_empty() {
            return error;
        }
        error.message = error.message.replace(&*self.prefix, "");
        if let Some(Value::Text(name)) = error.details.get_mut("agent_name") {
            if let Some(shown) = name.strip_prefix(&*self.prefix) {
                *name = shown.to_owned();
            }
        }
        error
    }
}

/// Returns the name under which a registry keeps the agents with this name, in the scope of a
/// caller if there is one. Returns `None` if the caller cannot have an agent with this name.
pub(crate) fn stored(scope: Option<&Scope>, name: String) -> Option<String> {
    match scope {
        Some(scope) => scope.stored(name),
        None => Some(name),
    }
}

/// Returns the registration as a caller sees it.
pub(crate) fn show<'a>(
    scope: Option<&Scope>,
    registration: &'a Arc<Registration>,
) -> Cow<'a, Arc<Registration>> {
    match scope {
        Some(scope) => Cow::Owned(scope.show(registration)),
        None => Cow::Borrowed(registration),
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope")
            .field("prefix", &self.prefix)
            .field("is_admin", &self.is_admin)
            .finish_non_exhaustive()
    }
}
