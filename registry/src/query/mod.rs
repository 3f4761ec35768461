mod capability;
mod wire;

use agentwire_codec::{Map, Value};
use semver::VersionReq;

use self::capability::Path;
use crate::Registration;

/// What to look for: all of its conditions must be met, and an empty one is met by everything.
///
/// ```
/// use agentwire_codec::map;
/// use agentwire_registry::{Query, Registration};
///
/// let weather = Registration::new("weather", "tcp://10.0.0.7:8080".parse()?)
///     .with_version("2.1.0".parse()?)
///     .with_capabilities(map! {"languages": ["en", "ja"], "tools": [{"name": "forecast"}]})
///     .with_metadata("zone", "b");
/// let query = Query::new().capability("languages.ja").tool("forecast").version("^2".parse()?).metadata("zone", "b");
/// assert!(query.matches(&weather));
/// assert!(!query.capability("languages.fr").matches(&weather));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
#[must_use]
pub struct Query {
    name: Option<String>,
    capabilities: Vec<Path>,
    version: Option<VersionReq>,
    metadata: Map,
}

/// Under which capability the tools stand (PROTOCOL 12).
const TOOLS: &str = "tools";

impl Query {
    /// No conditions.
    pub fn new() -> Self {
        Self::default()
    }

    /// Instances of that name alone.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Those with that capability: a key, or keys from the outside in with dots between them. What stands there
    /// must be neither `null` nor `false`; a list has its texts, and its objects by their `name`.
    pub fn capability(self, path: impl AsRef<str>) -> Self {
        self.capability_path(path.as_ref().split('.'))
    }

    /// Like [`capability`](Self::capability), for keys that hold dots themselves.
    pub fn capability_path(mut self, keys: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let keys = keys.into_iter().map(Into::into).collect();
        self.capabilities.push(keys);
        self
    }

    /// Those with that tool, among the capabilities under `tools`.
    pub fn tool(self, name: impl Into<String>) -> Self {
        self.capability_path([TOOLS.to_owned(), name.into()])
    }

    /// Those with a version that meets the requirement, as Cargo understands it. Without a version there is nothing
    /// to meet it with.
    pub fn version(mut self, requirement: VersionReq) -> Self {
        self.version = Some(requirement);
        self
    }

    /// Those whose metadata has exactly this value under this key.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.metadata.insert(key, value);
        self
    }

    /// True if the registration meets all conditions.
    #[must_use]
    pub fn matches(&self, registration: &Registration) -> bool {
        let named = self
            .name
            .as_ref()
            .is_none_or(|name| *name == registration.name);
        // The cheap conditions come first.
        named
            && self.version.as_ref().is_none_or(|requirement| {
                let version = registration.version.as_ref();
                version.is_some_and(|version| requirement.matches(version))
            })
            && self
                .metadata
                .iter()
                .all(|(key, value)| registration.metadata.get(key) == Some(value))
            && self
                .capabilities
                .iter()
                .all(|path| capability::has(&registration.capabilities, path))
    }

    /// The only name that can match, if the query has one.
    #[must_use]
    pub fn only_name(&self) -> Option<&str> {
        self.name.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use agentwire_codec::map;

    use super::*;

    fn weather() -> Registration {
        Registration::new("weather", "tcp://host:80".parse().unwrap())
            .with_version("2.1.0".parse().unwrap())
            .with_capabilities(map! {"a.b": true, "tools": ["double"]})
            .with_metadata("zone", "b")
            .with_metadata("weight", 1)
    }

    fn requirement(text: &str) -> VersionReq {
        text.parse().unwrap()
    }

    #[test]
    fn an_empty_query_finds_everything() {
        assert!(Query::new().matches(&weather()));
    }

    #[test]
    fn each_condition_alone_decides() {
        let query = Query::new;
        for (met, failed) in [
            (query().name("weather"), query().name("Weather")),
            (query().tool("double"), query().tool("triple")),
            (query().capability("tools"), query().capability("a.b")),
            (
                query().capability_path(["a.b"]),
                query().capability_path(["a", "b"]),
            ),
            (
                query().version(requirement(">=2, <3")),
                query().version(requirement("^1")),
            ),
            (
                query().metadata("zone", "b"),
                query().metadata("zone", Value::Null),
            ),
            (
                query().metadata("weight", 1),
                query().metadata("weight", 1.0),
            ),
        ] {
            assert!(met.matches(&weather()), "{met:?}");
            assert!(!failed.matches(&weather()), "{failed:?}");
        }
    }

    #[test]
    fn all_conditions_must_be_met() {
        let query = Query::new().tool("double").metadata("zone", "b");
        assert!(query.matches(&weather()));
        assert!(!query.metadata("zone", "c").matches(&weather()));
    }

    #[test]
    fn without_a_version_no_requirement_is_met() {
        let mut unversioned = weather();
        unversioned.version = None;
        let any = Query::new().version(VersionReq::STAR);
        assert!(!any.matches(&unversioned));
        assert!(any.matches(&weather()));
    }
}
