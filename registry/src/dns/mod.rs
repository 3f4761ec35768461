//! Discovery by DNS: [`DnsRegistry`].

mod changes;
mod resolver;
mod shared;

use std::{fmt, sync::Arc, time::Duration};

use agentwire_transport::Endpoint;

pub use self::resolver::{Resolve, SystemResolver};
use self::shared::Shared;
use crate::{
    InstanceRef, Lease, Query, Registration, Registry, RegistryError, Watch, WatchScope,
    backend::{QueryExt, WatchExt},
    check_name,
    fixed::{address, contents::read_only},
};

/// A registry whose instances are the addresses of a DNS name, for example those of a headless
/// service in Kubernetes. Clones are handles to the same registry.
///
/// DNS knows addresses, but no names of agents. Each address is therefore an instance of each name
/// that is looked up, and [`list`](Registry::list) returns the addresses under the DNS name. Agents
/// cannot register: [`register`](Registry::register) and [`heartbeat`](Registry::heartbeat) return
/// [`RegistryError::ReadOnly`].
///
/// A [watch](Registry::watch) looks the name up about every five seconds, at random times, so that
/// many processes do not ask at once. If the name server fails, the last answer stays valid. If a
/// name has lost all of its addresses, a second lookup must confirm that.
///
/// ```no_run
/// # mod agentwire { pub extern crate agentwire_registry as registry; }
/// use agentwire::registry::{DnsRegistry, Registry};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let registry = DnsRegistry::parse("dns://weather.default.svc.cluster.local:8080")?;
/// for instance in registry.lookup("weather").await? {
///     println!("{}", instance.endpoint);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct DnsRegistry(Arc<Shared>);

impl DnsRegistry {
    /// Parses `dns://name:port`, for agents at `tcp://` endpoints. `dns+SCHEME://name:port/path` is
    /// for agents at endpoints with that scheme, such as `dns+tls` or `dns+ws`.
    ///
    /// The certificates of agents at secure endpoints must be valid for their addresses, unless the
    /// client sets the name that it expects.
    ///
    /// # Errors
    ///
    /// Returns [`RegistryError::InvalidAddress`] if the text has another form.
    pub fn parse(text: &str) -> Result<Self, RegistryError> {
        let template = address::parse_dns(text)?;
        Ok(Self::with_resolver(text, template, SystemResolver))
    }

    /// Creates a registry like [`parse`](Self::parse), with a resolver of your own.
    ///
    /// # Errors
    ///
    /// Returns the same error as [`parse`](Self::parse).
    pub fn parse_with(text: &str, resolver: impl Resolve) -> Result<Self, RegistryError> {
        let template = address::parse_dns(text)?;
        Ok(Self::with_resolver(text, template, resolver))
    }

    fn with_resolver(text: &str, template: Endpoint, resolver: impl Resolve) -> Self {
        Self(Arc::new(Shared::new(text, template, resolver)))
    }

    /// Sets the interval at which watches look the name up. The default is five seconds. Each pause
    /// is shortened by up to a third at random. Handles that were cloned before keep their
    /// interval.
    ///
    /// # Panics
    ///
    /// Panics if the interval is zero.
    #[must_use]
    pub fn refresh_interval(self, interval: Duration) -> Self {
        assert!(!interval.is_zero(), "the interval must not be zero");
        Self(Arc::new(self.0.with_interval(interval)))
    }
}

impl Registry for DnsRegistry {
    async fn register(&self, _: Registration) -> Result<Lease, RegistryError> {
        Err(read_only(self.0.address()))
    }

    async fn unregister(&self, _: &InstanceRef) -> Result<(), RegistryError> {
        Err(read_only(self.0.address()))
    }

    async fn heartbeat(&self, _: &InstanceRef) -> Result<(), RegistryError> {
        Err(read_only(self.0.address()))
    }

    async fn lookup(&self, name: &str) -> Result<Vec<Arc<Registration>>, RegistryError> {
        check_name(name)?;
        Ok(self.0.contents().await?.of(&WatchScope::name(name)))
    }

    async fn list(&self) -> Result<Vec<Arc<Registration>>, RegistryError> {
        Ok(self.0.contents().await?.of(&WatchScope::All))
    }

    async fn find(
        &self,
        query: impl Into<Query> + Send,
    ) -> Result<Vec<Arc<Registration>>, RegistryError> {
        let query = query.into();
        query.check()?;
        Ok(self.0.contents().await?.find(&query))
    }

    fn watch(&self, scope: WatchScope) -> Watch {
        match scope.check() {
            Ok(()) => changes::watch(&self.0, scope),
            Err(error) => Watch::failed(error),
        }
    }
}

impl fmt::Debug for DnsRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DnsRegistry")
            .field(&self.0.address())
            .finish()
    }
}

#[cfg(test)]
mod tests;
