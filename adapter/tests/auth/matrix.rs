//! Compares the policy with an evaluator that was written apart from it.

use agentwire::{
    Principal,
    auth::{Access, Policy, Role, Rule, Verb},
};

/// The verbs of the built-in roles, as a table of letters in the order of [`Verb::ALL`].
const TABLE: [(&str, &str); 5] = [
    ("admin", "cserlwpm"),
    ("agent-producer", "---r--p-"),
    ("agent-consumer", "cse-lwp-"),
    ("agent-full", "cserlwp-"),
    ("observer", "----lwpm"),
];

/// The own roles of this test: their verbs, and the patterns of agents and of tools.
const OWN: [(&str, &str, &[&str], &[&str]); 3] = [
    ("forecasts", "cs------", &["weather*"], &[]),
    ("tools", "--e-----", &[], &["add", "sub*"]),
    ("nothing", "--------", &["*"], &["*"]),
];

fn verbs(letters: &str) -> Vec<Verb> {
    let pairs = Verb::ALL.into_iter().zip(letters.chars());
    pairs
        .filter(|(_, letter)| *letter != '-')
        .map(|(verb, _)| verb)
        .collect()
}

/// Matches by trying all lengths for each star.
fn naive_match(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((before, after)) => name.strip_prefix(before).is_some_and(|rest| {
            (0..=rest.len())
                .any(|cut| rest.is_char_boundary(cut) && naive_match(after, &rest[cut..]))
        }),
    }
}

fn expected(role: &str, verb: Verb, agent: &str, tool: Option<&str>) -> bool {
    if let Some((_, letters)) = TABLE.iter().find(|(name, _)| *name == role) {
        return verbs(letters).contains(&verb);
    }
    let Some((_, letters, agents, tools)) = OWN.iter().find(|(name, ..)| *name == role) else {
        return false;
    };
    let (name, patterns) = match tool {
        Some(tool) => (tool, tools),
        None => (agent, agents),
    };
    verbs(letters).contains(&verb) && patterns.iter().any(|pattern| naive_match(pattern, name))
}

#[test]
fn every_verb_role_and_namespace_is_decided_like_by_a_table() {
    let mut policy = Policy::new();
    for (name, letters, agents, tools) in OWN {
        let rule = Rule::new(verbs(letters))
            .agents(agents.to_vec())
            .tools(tools.to_vec());
        policy = policy.role(Role::new(name).allow(rule));
    }
    let roles: Vec<&str> = TABLE
        .iter()
        .map(|(name, _)| *name)
        .chain(OWN.iter().map(|(name, ..)| *name))
        .chain(["unknown"])
        .collect();
    let mut decisions = 0;
    for first in &roles {
        for second in &roles {
            for own_namespace in [None, Some("prod"), Some("test")] {
                let mut principal = Principal::new("p").with_role(*first).with_role(*second);
                if let Some(namespace) = own_namespace {
                    principal = principal.with_namespace(namespace);
                }
                for verb in Verb::ALL {
                    for name in ["weather", "weather-oslo", "payroll", "add", "subtract", ""] {
                        for namespace in [None, Some("prod"), Some("test")] {
                            let tool = (verb == Verb::Execute).then_some(name);
                            let mut access = match tool {
                                Some(tool) => Access::tool(tool),
                                None => Access::agent(verb, name),
                            };
                            if let Some(namespace) = namespace {
                                access = access.in_namespace(namespace);
                            }
                            let is_within = namespace.is_none() || namespace == own_namespace;
                            let has_role = expected(first, verb, name, tool)
                                || expected(second, verb, name, tool);
                            assert_eq!(
                                policy.allows(&principal, &access),
                                is_within && has_role,
                                "{principal:?} {access:?}"
                            );
                            decisions += 1;
                        }
                    }
                }
            }
        }
    }
    assert_eq!(decisions, 81 * 3 * 8 * 6 * 3);
}
