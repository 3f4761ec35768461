//! A registry with a fixed list of agents: [`StaticRegistry`].

pub(crate) mod address;
pub(crate) mod contents;

use std::sync::Arc;

use agentwire_transport::Endpoint;
use futures_util::stream::{self, StreamExt};

use self::contents::{Contents, read_only};
use crate::{
    Event, InstanceRef, Lease, Query, Registration, Registry, RegistryError, Watch, WatchScope,
    backend::{QueryExt, RegistrationExt, WatchExt},
    check_name,
};

/// A registry whose agents are given when it is created. Clones are handles to the same registry.
///
/// Agents cannot register in it: [`register`](Registry::register) and
/// [`heartbeat`](Registry::heartbeat) return [`RegistryError::ReadOnly`].
///
/// ```
/// # mod agentwire { pub extern crate agentwire_registry as registry; }
/// use agentwire::registry::{Registry, StaticRegistry};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let registry = StaticRegistry::parse("static:tcp://10.0.0.7:8080,tcp://10.0.0.8:8080")?;
/// assert_eq!(registry.lookup("weather").await?.len(), 2);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct StaticRegistry {
    /// The address, for errors.
    address: Arc<str>,
    contents: Arc<Contents>,
}

impl StaticRegistry {
    /// Creates a registry of agents with different names. Of two registrations with the same name
    /// and endpoint, the later one is kept.
    ///
    /// # Errors
    ///
    /// Returns [`RegistryError::InvalidName`] or [`RegistryError::InvalidRegistration`] if a
    /// registration is invalid.
    pub fn new(
        registrations: impl IntoIterator<Item = Registration>,
    ) -> Result<Self, RegistryError> {
        let mut all: Vec<Arc<Registration>> = Vec::new();
        for registration in registrations {
            registration.check(MAX_SIZE)?;
            all.retain(|one| {
                one.name != registration.name || one.endpoint != registration.endpoint
            });
            all.push(Arc::new(registration));
        }
        Ok(Self {
            address: "a static list".into(),
            contents: Arc::new(Contents::Agents(all)),
        })
    }

    /// Creates a registry of endpoints that all serve the same agents. The endpoints are the
    /// instances of each name that is looked up.
    #[must_use]
    pub fn from_endpoints(endpoints: impl IntoIterator<Item = Endpoint>) -> Self {
        Self::of(STATIC, endpoints.into_iter().collect())
    }

    /// Parses `static:ENDPOINT,ENDPOINT,…`. The result is that of
    /// [`from_endpoints`](Self::from_endpoints).
    ///
    /// # Errors
    ///
    /// Returns [`RegistryError::InvalidAddress`] if the text has another form, or if an endpoint is
    /// not valid.
    pub fn parse(text: &str) -> Result<Self, RegistryError> {
        Ok(Self::of(text, address::parse_static(text)?))
    }

    fn of(address: &str, endpoints: Vec<Endpoint>) -> Self {
        Self {
            address: address.into(),
            contents: Arc::new(Contents::Endpoints {
                label: STATIC.into(),
                endpoints,
            }),
        }
    }

    fn refused<T>(&self) -> Result<T, RegistryError> {
        Err(read_only(&self.address))
    }
}

impl Registry for StaticRegistry {
    async fn register(&self, _: Registration) -> Result<Lease, RegistryError> {
        self.refused()
    }

    async fn unregister(&self, _: &InstanceRef) -> Result<(), RegistryError> {
        self.refused()
    }

    async fn heartbeat(&self, _: &InstanceRef) -> Result<(), RegistryError> {
        self.refused()
    }

    async fn lookup(&self, name: &str) -> Result<Vec<Arc<Registration>>, RegistryError> {
        check_name(name)?;
        Ok(self.contents.of(&WatchScope::name(name)))
    }

    async fn list(&self) -> Result<Vec<Arc<Registration>>, RegistryError> {
        Ok(self.contents.of(&WatchScope::All))
    }

    async fn find(
        &self,
        query: impl Into<Query> + Send,
    ) -> Result<Vec<Arc<Registration>>, RegistryError> {
        let query = query.into();
        query.check()?;
        Ok(self.contents.find(&query))
    }

    fn watch(&self, scope: WatchScope) -> Watch {
        if let Err(error) = scope.check() {
            return Watch::failed(error);
        }
        let snapshot = Event::snapshot(self.contents.of(&scope), false);
        // Nothing changes, and the registry exists as long as the watch.
        Watch::new(stream::once(async { Ok(snapshot) }).chain(stream::pending()))
    }
}

const STATIC: &str = "static";

/// The maximum size of the capabilities and metadata of a registration, as in other registries.
const MAX_SIZE: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use agentwire_codec::map;
    use futures_util::FutureExt;

    use super::*;

    fn endpoint(text: &str) -> Endpoint {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn each_name_has_all_endpoints_of_a_list() {
        let registry = StaticRegistry::parse("static:tcp://b:1,unix:///run/a.sock,tcp://b:1");
        let registry = registry.unwrap();
        for name in ["weather", "news"] {
            let found = registry.lookup(name).await.unwrap();
            assert!(found.iter().all(|one| one.name == name));
            let found: Vec<_> = found.iter().map(|one| one.endpoint.to_string()).collect();
            assert_eq!(found.len(), 2, "{found:?}");
            let mut watch = registry.watch(WatchScope::name(name));
            match watch.next().await {
                Some(Ok(Event::Snapshot { registrations, .. })) => {
                    assert_eq!(registrations.len(), 2);
                }
                other => panic!("{other:?}"),
            }
            assert!(watch.next().now_or_never().is_none());
        }
        assert_eq!(registry.list().await.unwrap()[0].name, "static");
        assert!(registry.lookup("").await.is_err());
    }

    #[tokio::test]
    async fn agents_with_names_are_found_by_queries() {
        let weather = Registration::new("weather", endpoint("tcp://a:1"))
            .with_capabilities(map! {"languages": ["en"]});
        let older = Registration::new("weather", endpoint("tcp://a:1"));
        let news = Registration::new("news", endpoint("tcp://b:1"));
        let registry = StaticRegistry::new([older, news, weather]).unwrap();
        let names: Vec<_> = registry.list().await.unwrap();
        let names: Vec<_> = names.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["news", "weather"]);
        let query = Query::new().capability("languages.en");
        assert_eq!(registry.find(query).await.unwrap()[0].name, "weather");
        assert!(registry.lookup("sports").await.unwrap().is_empty());
        let page = registry.list_after(Some("news"), 1).await.unwrap();
        assert_eq!(page[0].name, "weather");
        let invalid = StaticRegistry::new([Registration::new("", endpoint("tcp://a:1"))]);
        assert!(matches!(invalid, Err(RegistryError::InvalidName { .. })));
    }

    #[tokio::test]
    async fn nothing_can_be_registered() {
        let registry = StaticRegistry::from_endpoints([endpoint("tcp://a:1")]);
        let error = registry
            .register(Registration::new("weather", endpoint("tcp://c:1")))
            .await
            .unwrap_err();
        assert!(matches!(error, RegistryError::ReadOnly { .. }), "{error:?}");
        assert!(!error.is_retryable());
        let which = InstanceRef::new("weather");
        assert!(registry.heartbeat(&which).await.is_err());
        assert!(registry.unregister(&which).await.is_err());
    }
}
