//! Queries for registrations: [`Query`].

mod capability;
pub(crate) mod wire;

use agentwire_codec::{Map, Value};
use semver::VersionReq;

use self::capability::Path;
use crate::{Registration, TextOr, error::FieldError};

/// A set of conditions that a registration must meet. An empty query matches all registrations.
///
/// A string can be converted into a query for the exact name.
///
/// ```
/// # mod agentwire { pub use agentwire_codec::*; pub extern crate agentwire_registry as registry; }
/// use agentwire::{
///     map,
///     registry::{Query, Registration},
/// };
///
/// let weather = Registration::new("weather", "tcp://10.0.0.7:8080".parse()?)
///     .with_version("2.1.0")
///     .with_capabilities(map! {"languages": ["en", "ja"], "tools": [{"name": "forecast"}]})
///     .with_metadata("zone", "b");
/// let query = Query::new()
///     .capability("languages.ja")
///     .tool("forecast")
///     .version("^2")
///     .metadata("zone", "b");
/// assert!(query.matches(&weather));
/// assert!(!query.capability("languages.fr").matches(&weather));
/// assert!(Query::from("weather").matches(&weather));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
#[must_use]
pub struct Query {
    pub(crate) name: Option<String>,
    capabilities: Vec<Path>,
    version: Option<TextOr<VersionReq>>,
    metadata: Map,
}

impl Query {
    /// Creates a query without conditions.
    pub fn new() -> Self {
        Self::default()
    }

    /// Requires this name.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Requires a capability. The path consists of one or more keys, separated by dots and starting
    /// with the outermost key.
    ///
    /// The value of the capability must be neither `null` nor `false`. In a list, a key selects a
    /// text that is equal to the key, or an object whose `name` is equal to the key.
    pub fn capability(self, path: impl AsRef<str>) -> Self {
        self.capability_path(path.as_ref().split('.'))
    }

    /// Requires a capability. Use this method instead of [`capability`](Self::capability) if keys
    /// contain dots.
    pub fn capability_path(mut self, keys: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let keys = keys.into_iter().map(Into::into).collect();
        self.capabilities.push(keys);
        self
    }

    /// Requires a tool in the capability `tools`.
    pub fn tool(self, name: impl Into<String>) -> Self {
        self.capability_path([TOOLS.to_owned(), name.into()])
    }

    /// Requires a version that meets a [`VersionReq`], which follows Cargo's rules. The requirement
    /// can be given as text, for example `"^1.2"`. A registration without a version meets no
    /// requirement.
    ///
    /// If the text is not a valid requirement, [`Registry::find`](crate::Registry::find) returns
    /// [`RegistryError::InvalidQuery`](crate::RegistryError::InvalidQuery).
    pub fn version(mut self, requirement: impl Into<TextOr<VersionReq>>) -> Self {
        self.version = Some(requirement.into());
        self
    }

    /// Requires a metadata entry with exactly this value.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.metadata.insert(key, value);
        self
    }

    /// Returns whether the registration meets all conditions.
    #[must_use]
    pub fn matches(&self, registration: &Registration) -> bool {
        // Check the cheap conditions first.
        self.matches_name(&registration.name)
            && self.matches_version(registration)
            && self
                .metadata
                .iter()
                .all(|(key, value)| registration.metadata.get(key) == Some(value))
            && self
                .capabilities
                .iter()
                .all(|path| capability::has(&registration.capabilities, path))
    }

    fn matches_name(&self, name: &str) -> bool {
        self.name.as_ref().is_none_or(|required| required == name)
    }

    fn matches_version(&self, registration: &Registration) -> bool {
        let Some(requirement) = &self.version else {
            return true;
        };
        match (requirement.as_result(), &registration.version) {
            (Ok(requirement), Some(version)) => requirement.matches(version),
            _ => false,
        }
    }

    /// Returns the error for a malformed condition, if there is one.
    pub(crate) fn find_problem(&self) -> Option<FieldError> {
        let version = self.version.as_ref()?;
        version.as_result().err().map(|_| wire::INVALID_VERSION)
    }
}

impl From<&str> for Query {
    fn from(name: &str) -> Self {
        Self::new().name(name)
    }
}

impl From<String> for Query {
    fn from(name: String) -> Self {
        Self::new().name(name)
    }
}

impl From<&String> for Query {
    fn from(name: &String) -> Self {
        Self::new().name(name)
    }
}

impl From<&Self> for Query {
    fn from(query: &Self) -> Self {
        query.clone()
    }
}

/// The capability that contains the tools (PROTOCOL 12).
const TOOLS: &str = "tools";

#[cfg(test)]
mod tests {
    use agentwire_codec::map;

    use super::*;
    use crate::{RegistryError, backend::QueryExt};

    fn weather() -> Registration {
        Registration::new("weather", "tcp://host:80".parse().unwrap())
            .with_version("2.1.0")
            .with_capabilities(map! {"a.b": true, "tools": ["double"]})
            .with_metadata("zone", "b")
            .with_metadata("weight", 1)
    }

    #[test]
    fn an_empty_query_matches_everything() {
        assert!(Query::new().matches(&weather()));
    }

    #[test]
    fn each_condition_is_applied() {
        let query = Query::new;
        for (met, failed) in [
            (query().name("weather"), query().name("Weather")),
            (query().tool("double"), query().tool("triple")),
            (query().capability("tools"), query().capability("a.b")),
            (
                query().capability_path(["a.b"]),
                query().capability_path(["a", "b"]),
            ),
            (query().version(">=2, <3"), query().version("^1")),
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
    fn an_unversioned_registration_meets_no_requirement() {
        let mut unversioned = weather();
        unversioned.version = None;
        let any = Query::new().version(VersionReq::STAR);
        assert!(!any.matches(&unversioned));
        assert!(any.matches(&weather()));
    }

    #[test]
    fn an_invalid_requirement_is_reported_and_matches_nothing() {
        let query = Query::new().version("two");
        assert!(!query.matches(&weather()));
        let error = query.check().unwrap_err();
        assert!(matches!(error, RegistryError::InvalidQuery { .. }));
        Query::new().version("^2").check().unwrap();
    }

    #[test]
    fn text_is_a_query_for_the_exact_name() {
        for query in [Query::from("weather"), "weather".to_owned().into()] {
            assert_eq!(query, Query::new().name("weather"));
        }
    }
}
