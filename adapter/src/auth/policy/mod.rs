//! What principals may do: [`Policy`].

mod pattern;
mod verb;

use std::collections::BTreeMap;

use self::pattern::Pattern;
pub use self::verb::Verb;
use crate::Principal;

/// The roles of a server, and what each of them allows. What no role allows is denied.
///
/// A policy has these roles from the start:
///
/// | role | verbs |
/// |---|---|
/// | `admin` | all |
/// | `agent-producer` | `register`, `ping` |
/// | `agent-consumer` | `call`, `stream`, `execute`, `lookup`, `watch`, `ping` |
/// | `agent-full` | those of `agent-producer` and `agent-consumer` |
/// | `observer` | `lookup`, `watch`, `ping`, `metrics` |
///
/// ```
/// use agentwire::{Principal, auth::{Access, Policy, Role, Rule, Verb}};
///
/// let forecasts = Role::new("forecasts").allow(Rule::new([Verb::Call]).agents(["weather*"]));
/// let policy = Policy::new().role(forecasts);
/// let alice = Principal::new("alice").with_role("forecasts");
/// assert!(policy.allows(&alice, &Access::agent(Verb::Call, "weather-oslo")));
/// assert!(!policy.allows(&alice, &Access::agent(Verb::Call, "payroll")));
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Policy {
    roles: BTreeMap<String, Role>,
}

/// A named set of [rules](Rule).
#[derive(Debug, Clone)]
#[must_use]
pub struct Role {
    name: String,
    rules: Vec<Rule>,
}

/// Allows some verbs for some names. Without [`agents`](Self::agents) and [`tools`](Self::tools), a
/// rule applies to all names.
#[derive(Debug, Clone)]
#[must_use]
pub struct Rule {
    verbs: Vec<Verb>,
    agents: Option<Vec<Pattern>>,
    tools: Option<Vec<Pattern>>,
}

/// What a request does, and to what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Access<'a> {
    pub(crate) verb: Verb,
    pub(crate) target: Target<'a>,
    pub(crate) namespace: Option<&'a str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target<'a> {
    Agent(&'a str),
    Tool(&'a str),
    /// The whole server, or all names. The answer contains only what the caller may see.
    Any,
}

impl Policy {
    /// Creates a policy with the built-in roles.
    pub fn new() -> Self {
        use Verb::{Call, Execute, Lookup, Metrics, Ping, Register, Stream, Watch};
        let roles: [(&str, &[Verb]); 5] = [
            ("admin", &Verb::ALL),
            ("agent-producer", &[Register, Ping]),
            (
                "agent-consumer",
                &[Call, Stream, Execute, Lookup, Watch, Ping],
            ),
            (
                "agent-full",
                &[Register, Call, Stream, Execute, Lookup, Watch, Ping],
            ),
            ("observer", &[Lookup, Watch, Ping, Metrics]),
        ];
        let mut policy = Self {
            roles: BTreeMap::new(),
        };
        for (name, verbs) in roles {
            policy = policy.role(Role::new(name).allow(Rule::new(verbs.iter().copied())));
        }
        policy
    }

    /// Adds a role, or replaces the role with the same name.
    pub fn role(mut self, role: Role) -> Self {
        self.roles.insert(role.name.clone(), role);
        self
    }

    /// Returns whether the policy has a role with this name.
    #[must_use]
    pub fn has_role(&self, name: &str) -> bool {
        self.roles.contains_key(name)
    }

    /// Returns whether a role of the principal allows the access, and the access is within the
    /// namespace of the principal.
    #[must_use]
    pub fn allows(&self, principal: &Principal, access: &Access<'_>) -> bool {
        let is_within = access
            .namespace
            .is_none_or(|namespace| principal.namespace() == Some(namespace));
        is_within && self.allows_anywhere(principal.roles(), access)
    }

    fn allows_anywhere(&self, roles: &[String], access: &Access<'_>) -> bool {
        let mut roles = roles.iter().filter_map(|name| self.roles.get(name));
        roles.any(|role| role.rules.iter().any(|rule| rule.allows(access)))
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self::new()
    }
}

impl Role {
    /// Creates a role that allows nothing.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            rules: Vec::new(),
        }
    }

    /// Adds a rule.
    pub fn allow(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }
}

impl Rule {
    /// Creates a rule that allows the verbs for all names.
    pub fn new(verbs: impl IntoIterator<Item = Verb>) -> Self {
        Self {
            verbs: verbs.into_iter().collect(),
            agents: None,
            tools: None,
        }
    }

    /// Restricts the rule to agents whose names match one of the patterns. `*` stands for any text,
    /// and `?` for one character. A rule with agents and without tools allows no tools.
    pub fn agents(mut self, patterns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.agents = Some(patterns.into_iter().map(Pattern::new).collect());
        self
    }

    /// Restricts the rule to tools whose names match one of the patterns. A rule with tools and
    /// without agents allows no agents.
    pub fn tools(mut self, patterns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.tools = Some(patterns.into_iter().map(Pattern::new).collect());
        self
    }

    fn allows(&self, access: &Access<'_>) -> bool {
        let matches = |patterns: &Option<Vec<Pattern>>, name: &str| match patterns {
            Some(patterns) => patterns.iter().any(|pattern| pattern.matches(name)),
            None => self.agents.is_none() && self.tools.is_none(),
        };
        self.verbs.contains(&access.verb)
            && match access.target {
                Target::Agent(name) => matches(&self.agents, name),
                Target::Tool(name) => matches(&self.tools, name),
                Target::Any => true,
            }
    }
}

impl<'a> Access<'a> {
    /// A request to an agent, or about an agent.
    pub fn agent(verb: Verb, name: &'a str) -> Self {
        Self {
            verb,
            target: Target::Agent(name),
            namespace: None,
        }
    }

    /// A request to a tool.
    pub fn tool(name: &'a str) -> Self {
        Self {
            verb: Verb::Execute,
            target: Target::Tool(name),
            namespace: None,
        }
    }

    /// A request that names neither an agent nor a tool. Patterns of names do not apply to it.
    pub fn server(verb: Verb) -> Self {
        Self {
            verb,
            target: Target::Any,
            namespace: None,
        }
    }

    /// Sets the namespace of what is accessed.
    pub fn in_namespace(mut self, namespace: &'a str) -> Self {
        self.namespace = Some(namespace);
        self
    }
}
