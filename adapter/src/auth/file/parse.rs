//! Reads the text of a file.

use std::{
    collections::{BTreeSet, HashMap},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Deserialize;
use toml::Spanned;

use super::{AuthFileError, Loaded};
use crate::{
    Principal,
    auth::{
        Certificates, Policy, Quota, Role, Rule, TokenDigest, Tokens, Users, Verb,
        identities::{is_nobody, is_principal_name},
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    principal: Vec<Spanned<PrincipalEntry>>,
    #[serde(default)]
    role: Vec<RoleEntry>,
    jwt: Option<Spanned<JwtEntry>>,
    quota: Option<QuotaEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PrincipalEntry {
    name: Spanned<String>,
    #[serde(default)]
    roles: Vec<Spanned<String>>,
    namespace: Option<Spanned<String>>,
    token_sha256: Option<Spanned<String>>,
    uid: Option<Spanned<u32>>,
    certificate: Option<Spanned<String>>,
    quota: Option<QuotaEntry>,
    requests_per_minute: Option<Spanned<u64>>,
    burst: Option<Spanned<u64>>,
    bytes_per_minute: Option<Spanned<u64>>,
    streams: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RoleEntry {
    name: Spanned<String>,
    allow: Vec<Spanned<RuleEntry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleEntry {
    verbs: Vec<Spanned<String>>,
    agents: Option<Vec<String>>,
    tools: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(
    not(feature = "jwt"),
    expect(dead_code, reason = "needs the feature `jwt`")
)]
struct JwtEntry {
    issuer: String,
    audience: String,
    algorithms: Vec<Spanned<String>>,
    jwks: Spanned<PathBuf>,
    roles_claim: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct QuotaEntry {
    requests_per_minute: Option<Spanned<u64>>,
    burst: Option<Spanned<u64>>,
    bytes_per_minute: Option<Spanned<u64>>,
    streams: Option<u64>,
}

/// A file that is being read.
struct Source<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Source<'_> {
    fn line(&self, offset: usize) -> usize {
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        before.iter().filter(|byte| **byte == b'\n').count() + 1
    }

    fn error<T>(&self, at: &Spanned<T>, problem: impl Into<String>) -> AuthFileError {
        AuthFileError::new(self.path, Some(self.line(at.span().start)), problem)
    }
}

/// # Errors
///
/// Returns an error with the line of what is wrong.
pub(super) fn parse(path: &Path, text: &str) -> Result<Loaded, AuthFileError> {
    let source = Source { path, text };
    let file: File = toml::from_str(text).map_err(|error| {
        let line = error.span().map(|span| source.line(span.start));
        AuthFileError::new(path, line, without_values(error.message()))
    })?;
    let policy = source.policy(&file.role)?;
    let mut loaded = Loaded {
        tokens: Tokens::new(),
        users: Users::new(),
        certificates: Certificates::new(),
        policy: Arc::new(policy),
        quota: file
            .quota
            .as_ref()
            .map(|quota| source.quota(quota))
            .transpose()?,
        quotas: HashMap::new(),
        namespaces: BTreeSet::new(),
        #[cfg(feature = "jwt")]
        jwt: None,
        paths: vec![path.to_owned()],
    };
    let mut principals = Principals::default();
    for entry in &file.principal {
        source.add_principal(entry, file.jwt.is_some(), &mut principals, &mut loaded)?;
    }
    if let Some(jwt) = &file.jwt {
        source.add_jwt(jwt, principals.by_name, &mut loaded)?;
    }
    Ok(loaded)
}

/// The principals so far, to find duplicates.
#[derive(Default)]
struct Principals {
    by_name: HashMap<String, Principal>,
    digests: HashMap<String, ()>,
    uids: HashMap<u32, ()>,
    certificates: HashMap<String, ()>,
}

impl Source<'_> {
    fn add_principal(
        &self,
        spanned: &Spanned<PrincipalEntry>,
        has_jwt: bool,
        principals: &mut Principals,
        loaded: &mut Loaded,
    ) -> Result<(), AuthFileError> {
        let entry = spanned.get_ref();
        let name = entry.name.get_ref();
        if !is_principal_name(name) {
            let problem = "a name has 1 to 128 bytes and no control characters";
            return Err(self.error(&entry.name, problem));
        }
        let mut principal = Principal::new(name);
        for role in &entry.roles {
            if !loaded.policy.has_role(role.get_ref()) {
                let problem = format!("unknown role {:?}", role.get_ref());
                return Err(self.error(role, problem));
            }
            principal = principal.with_role(role.get_ref());
        }
        if let Some(namespace) = &entry.namespace {
            if !is_namespace(namespace.get_ref()) {
                let problem =
                    "a namespace has 1 to 63 ASCII letters, digits, dots, underscores or hyphens";
                return Err(self.error(namespace, problem));
            }
            principal = principal.with_namespace(namespace.get_ref());
        }
        let known = principals
            .by_name
            .entry(name.clone())
            .or_insert_with(|| principal.clone());
        if *known != principal {
            let problem = format!("principal {name:?} has other roles or another namespace above");
            return Err(self.error(&entry.name, problem));
        }
        let has_none =
            entry.token_sha256.is_none() && entry.uid.is_none() && entry.certificate.is_none();
        if has_none && !has_jwt {
            let problem = format!(
                "principal {name:?} needs one or more of token_sha256, uid and certificate"
            );
            return Err(self.error(&entry.name, problem));
        }
        if let Some(text) = &entry.token_sha256 {
            let Some(digest) = TokenDigest::from_hex(text.get_ref()) else {
                let problem = "token_sha256 must be the 64 hexadecimal digits of a SHA-256 digest; \
                               `agentwire token` prints one";
                return Err(self.error(text, problem));
            };
            if digest == TokenDigest::of("") {
                let problem = "token_sha256 is the digest of an empty text, which is no token";
                return Err(self.error(text, problem));
            }
            if principals.digests.insert(digest.to_hex(), ()).is_some() {
                return Err(self.error(text, "the same token_sha256 is given above"));
            }
            loaded.tokens.insert(digest, principal.clone());
        }
        if let Some(uid) = &entry.uid {
            if is_nobody(*uid.get_ref()) {
                let problem = "uid 65534 stands for all users that the system cannot map, and \
                               4294967295 for none, so they identify nobody";
                return Err(self.error(uid, problem));
            }
            if principals.uids.insert(*uid.get_ref(), ()).is_some() {
                return Err(self.error(uid, "the same uid is given above"));
            }
            let users = std::mem::take(&mut loaded.users);
            loaded.users = users.allow_uid(*uid.get_ref(), principal.clone());
        }
        if let Some(text) = &entry.certificate {
            if text.get_ref().is_empty() {
                return Err(self.error(text, "certificate must be a DNS name or a URI"));
            }
            if principals
                .certificates
                .insert(text.get_ref().clone(), ())
                .is_some()
            {
                return Err(self.error(text, "the same certificate is given above"));
            }
            let certificates = std::mem::take(&mut loaded.certificates);
            loaded.certificates = certificates.allow(text.get_ref(), principal.clone());
        }
        let namespace = principal.namespace().map(str::to_owned);
        loaded.namespaces.insert(namespace);
        if let Some(quota) = self.own_quota(entry)? {
            loaded.quotas.insert(name.clone(), quota);
        }
        Ok(())
    }

    fn own_quota(&self, entry: &PrincipalEntry) -> Result<Option<Quota>, AuthFileError> {
        let direct = QuotaEntry {
            requests_per_minute: entry.requests_per_minute.clone(),
            burst: entry.burst.clone(),
            bytes_per_minute: entry.bytes_per_minute.clone(),
            streams: entry.streams,
        };
        let direct = self.quota(&direct)?;
        match &entry.quota {
            Some(_) if !direct.is_unlimited() => {
                let problem = "the quota is given twice: directly and as `quota`";
                Err(self.error(&entry.name, problem))
            }
            Some(nested) => self.quota(nested).map(Some),
            None if direct.is_unlimited() => Ok(None),
            None => Ok(Some(direct)),
        }
    }

    fn quota(&self, entry: &QuotaEntry) -> Result<Quota, AuthFileError> {
        let mut quota = Quota::new();
        for (value, set) in [
            (
                &entry.requests_per_minute,
                Quota::requests_per_minute as fn(Quota, u64) -> Quota,
            ),
            (&entry.burst, Quota::burst),
            (&entry.bytes_per_minute, Quota::bytes_per_minute),
        ] {
            let Some(value) = value else {
                continue;
            };
            if *value.get_ref() == 0 {
                return Err(self.error(value, "must be at least 1"));
            }
            quota = set(quota, *value.get_ref());
        }
        if let (Some(burst), None) = (&entry.burst, &entry.requests_per_minute) {
            return Err(self.error(burst, "burst needs requests_per_minute"));
        }
        if let Some(streams) = entry.streams {
            quota = quota.streams(streams);
        }
        Ok(quota)
    }

    fn policy(&self, roles: &[RoleEntry]) -> Result<Policy, AuthFileError> {
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

    #[cfg(feature = "jwt")]
    fn add_jwt(
        &self,
        spanned: &Spanned<JwtEntry>,
        principals: HashMap<String, Principal>,
        loaded: &mut Loaded,
    ) -> Result<(), AuthFileError> {
        use crate::auth::jwt::{Algorithm, Jwt};

        let entry = spanned.get_ref();
        let mut algorithms = Vec::new();
        for name in &entry.algorithms {
            let Some(algorithm) = Algorithm::from_name(name.get_ref()) else {
                let known = Algorithm::ALL.map(Algorithm::as_str).join(", ");
                let problem = format!("unknown algorithm {:?}; there are: {known}", name.get_ref());
                return Err(self.error(name, problem));
            };
            algorithms.push(algorithm);
        }
        if algorithms.is_empty() || entry.issuer.is_empty() || entry.audience.is_empty() {
            let problem = "issuer, audience and algorithms must not be empty";
            return Err(self.error(spanned, problem));
        }
        let directory = self.path.parent().unwrap_or(Path::new(""));
        let path = directory.join(entry.jwks.get_ref());
        let read = std::fs::read(&path);
        let text = read.map_err(|error| {
            let problem = format!("{} cannot be read: {error}", path.display());
            self.error(&entry.jwks, problem)
        })?;
        let jwt = Jwt::new(&text, &algorithms, &entry.issuer, &entry.audience)
            .map_err(|problem| self.error(&entry.jwks, format!("{}: {problem}", path.display())))?
            .with_principals(principals, entry.roles_claim.clone());
        loaded.jwt = Some(jwt);
        loaded.paths.push(path);
        Ok(())
    }

    #[cfg(not(feature = "jwt"))]
    fn add_jwt(
        &self,
        spanned: &Spanned<JwtEntry>,
        _: HashMap<String, Principal>,
        _: &mut Loaded,
    ) -> Result<(), AuthFileError> {
        Err(self.error(spanned, "built without JWT: enable the feature `jwt`"))
    }
}

fn is_namespace(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=63).contains(&text.len()) && text.bytes().all(is_allowed)
}

/// Removes the values of texts from the message of the parser.
fn without_values(message: &str) -> String {
    match (message.find("string \""), message.rfind("\", expected")) {
        (Some(start), Some(end)) if start < end => {
            format!("{}string{}", &message[..start], &message[end + 1..])
        }
        _ => message.lines().next().unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> (usize, String) {
        let error = parse(Path::new("auth.toml"), text).unwrap_err();
        let shown = error.to_string();
        assert!(shown.starts_with("auth.toml:"), "{shown}");
        (error.line().unwrap(), shown)
    }

    fn principal(more: &str) -> String {
        format!("[[principal]]\nname = \"alice\"\n{more}\n")
    }

    #[test]
    fn an_error_has_the_line_and_the_problem() {
        let digest = "0".repeat(64);
        let token = format!("token_sha256 = \"{digest}\"");
        for (text, line, problem) in [
            ("\nquota = 1".to_owned(), 2, "invalid type"),
            ("\n\n[qotas]\n".to_owned(), 3, "unknown field `qotas`"),
            (
                principal("uid = 1\nsecret = \"x\""),
                4,
                "unknown field `secret`",
            ),
            (principal(""), 2, "needs one or more of"),
            (
                principal("token_sha256 = \"abc\""),
                3,
                "64 hexadecimal digits",
            ),
            (
                principal(&format!(
                    "token_sha256 = \"{}\"",
                    TokenDigest::of("").to_hex()
                )),
                3,
                "of an empty text",
            ),
            (principal("uid = 65534"), 3, "65534"),
            (principal("uid = 4294967295"), 3, "identify nobody"),
            (
                principal("uid = 1\nroles = [\"admin\",\n\"boss\"]"),
                5,
                "unknown role \"boss\"",
            ),
            (
                principal("uid = 1\nnamespace = \"a/b\""),
                4,
                "a namespace has",
            ),
            (
                principal("uid = 1\nrequests_per_minute = 0"),
                4,
                "at least 1",
            ),
            (
                principal("uid = 1\nburst = 5"),
                4,
                "needs requests_per_minute",
            ),
            (
                principal("uid = 1") + &principal("uid = 1"),
                6,
                "the same uid",
            ),
            (
                principal("uid = 1") + &principal("uid = 2\nroles = [\"admin\"]"),
                5,
                "other roles",
            ),
            (
                principal(&token) + &principal(&token),
                6,
                "the same token_sha256",
            ),
            (
                "[[role]]\nname = \"admin\"\nallow = []".to_owned(),
                2,
                "built in",
            ),
            (
                "[[role]]\nname = \"r\"\nallow = [{ verbs = [\n\"cal\"] }]".to_owned(),
                4,
                "\"cal\"",
            ),
            (
                "[[role]]\nname = \"r\"\nallow = [{ verbs = [\"execute\"], agents = [\"a\"] }]"
                    .to_owned(),
                3,
                "needs tools",
            ),
            ("[[principal]]\n".to_owned(), 1, "missing field `name`"),
            ("[quota\n".to_owned(), 1, ""),
        ] {
            let (at, shown) = error(&text);
            assert!(at == line && shown.contains(problem), "{text}: {shown}");
        }
    }

    #[test]
    fn an_error_shows_no_value() {
        for more in [
            "uid = \"hunter2\"",
            "token_sha256 = \"hunter2\"",
            "uid = 1\ntoken = \"hunter2\"",
        ] {
            let (_, shown) = error(&principal(more));
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }

    #[test]
    fn the_example_of_the_documentation_is_read() {
        let text = format!(
            "{}roles = [\"forecasts\"]\nnamespace = \"prod\"\nquota = {{ streams = 1 }}\n\
             [[role]]\nname = \"forecasts\"\n\
             allow = [{{ verbs = [\"call\", \"stream\"], agents = [\"weather*\"], tools = [\"*\"] }}]\n\
             [quota]\nrequests_per_minute = 1000\nburst = 100\nbytes_per_minute = 1_000\nstreams = 16\n",
            principal("uid = 1000\ncertificate = \"alice.internal\""),
        );
        let loaded = parse(Path::new("auth.toml"), &text).unwrap();
        let quota = Quota::new()
            .requests_per_minute(1000)
            .burst(100)
            .bytes_per_minute(1000);
        assert_eq!(loaded.quota, Some(quota.streams(16)));
        assert_eq!(loaded.quotas["alice"], Quota::new().streams(1));
        assert!(loaded.policy.has_role("forecasts"));
    }
}
