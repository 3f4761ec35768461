//! Reads the roles of a file.

use toml::Spanned;

use super::{
    entries::{RoleEntry, RuleEntry},
    source::Source,
};
use crate::auth::{Policy, Role, Rule, Verb, file::AuthFileError};

impl Source<'_> {
    pub(super) fn policy(&self, roles: &[RoleEntry]) -> Result<Policy, AuthFileError> {
        let mut policy = Policy::new();
        for entry in roles {
            let name = entry.name.get_ref();
            if policy.has_role(name) {
                let problem = format!("the role {name:?} is built in, or given above");
                return Err(self.error(&entry.name, problem));
            }
            let mut role = Role::new(name);
            for rule in &entry.allow {
                role = role.allow(self.rule(rule)?);
            }
            policy = policy.role(role);
        }
        Ok(policy)
    }

    fn rule(&self, spanned: &Spanned<RuleEntry>) -> Result<Rule, AuthFileError> {
        let entry = spanned.get_ref();
        let mut verbs = Vec::new();
        for text in &entry.verbs {
            let Some(verb) = Verb::from_name(text.get_ref()) else {
                let known = Verb::ALL.map(Verb::as_str).join(", ");
                let problem = format!("unknown verb {:?}; there are: {known}", text.get_ref());
                return Err(self.error(text, problem));
            };
            // A rule that names agents and forgets the tools must not allow all tools.
            let needs_tools = verb == Verb::Execute;
            let needs_agents = !matches!(verb, Verb::Execute | Verb::Ping | Verb::Metrics);
            if needs_tools && entry.tools.is_none() && entry.agents.is_some() {
                return Err(self.error(text, "a rule with agents and `execute` needs tools"));
            }
            if needs_agents && entry.agents.is_none() && entry.tools.is_some() {
                let problem = format!("a rule with tools and `{verb}` needs agents");
                return Err(self.error(text, problem));
            }
            verbs.push(verb);
        }
        let mut rule = Rule::new(verbs);
        if let Some(patterns) = &entry.agents {
            rule = rule.agents(patterns);
        }
        if let Some(patterns) = &entry.tools {
            rule = rule.tools(patterns);
        }
        Ok(rule)
    }
}
