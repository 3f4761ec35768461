mod builder;
mod error;
mod watch;

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use agentwire_codec::{Body, Heartbeat, Map, Request, Unregister, Value, map};
use agentwire_registry::{
    InstanceRef, Lease, Query, Registration, Registry, RegistryError, Watch, WatchScope,
    backend::{FieldError, QueryExt, RegistrationExt},
    check_name,
};
use agentwire_transport::{Endpoint, Error as TransportError, internal::Backoff};
use tokio::time::{Instant, timeout_at};

pub use self::builder::RemoteRegistryBuilder;
use crate::{Error, RemoteAgent, registry::wire};

/// A registry that lives elsewhere, served by a [`RegistryServer`](crate::registry::RegistryServer).
///
/// It connects when it is first asked, and again when its server has gone away and come back. Clones share the
/// connections. A [`Watch`] has a connection to itself, keeps it up, and says by a resync where it was lost.
///
/// ```no_run
/// use agentwire::registry::{Registry, RemoteRegistry};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let registry = RemoteRegistry::new("unix:///run/agents/registry.sock")?;
/// for found in registry.lookup("weather").await? {
///     println!("{} at {}", found.name, found.endpoint);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RemoteRegistry {
    calls: RemoteAgent,
    /// For what must not be sent twice.
    once: RemoteAgent,
    watches: RemoteAgent,
    timeout: Duration,
    /// The first wait of a watch that was lost, and the longest.
    backoff: (Duration, Duration),
}

/// The most registrations that one answer or snapshot is believed to have: what a registry that is not sane would
/// send must end somewhere.
const MAX_REGISTRATIONS: usize = 1 << 20;

impl RemoteRegistry {
    /// A registry at this endpoint, with default settings. It does not connect yet.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidEndpoint`].
    pub fn new<E>(endpoint: E) -> Result<Self, Error>
    where
        E: TryInto<Endpoint>,
        TransportError: From<E::Error>,
    {
        Self::builder(endpoint).build()
    }

    /// Settings for asking a registry.
    pub fn builder<E>(endpoint: E) -> RemoteRegistryBuilder
    where
        E: TryInto<Endpoint>,
        TransportError: From<E::Error>,
    {
        RemoteRegistryBuilder::new(endpoint)
    }

    /// Where the registry is.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        self.calls.endpoint()
    }

    async fn ask(&self, body: impl Into<Body>) -> Result<Map, RegistryError> {
        let answer = self.calls.ask(body).await;
        answer.map_err(|error| error::failed(self.endpoint(), None, error))
    }

    /// Asks for a list, page by page.
    async fn ask_for_list(
        &self,
        mut request: Map,
    ) -> Result<Vec<Arc<Registration>>, RegistryError> {
        let deadline = Instant::now() + self.timeout;
        let pages = async {
            let mut all = Vec::new();
            loop {
                let mut answer = self.ask(Request::Other(request.clone())).await?;
                let page = wire::read_page(&mut answer);
                let (page, len) = page.map_err(|error| self.invalid(error))?;
                all.extend(page);
                match answer.get_mut("next").map(std::mem::take) {
                    None | Some(Value::Null) => return Ok(once_each(all)),
                    Some(_) if len == 0 || all.len() > MAX_REGISTRATIONS => {
                        let problem = FieldError::new("next", "absent from a list without an end");
                        return Err(self.invalid(problem));
                    }
                    Some(next) => request.insert("after", next),
                };
            }
        };
        match timeout_at(deadline, pages).await {
            Ok(all) => all,
            Err(_) => Err(RegistryError::NoAnswer {
                limit: self.timeout,
            }),
        }
    }

    fn invalid(&self, error: FieldError) -> RegistryError {
        error::invalid(self.endpoint(), error)
    }
}

/// Leaves the newest of each: between two pages one may have registered again, and moved behind where it stood.
fn once_each(mut all: Vec<Arc<Registration>>) -> Vec<Arc<Registration>> {
    let mut newest = HashMap::with_capacity(all.len());
    for (place, one) in all.iter().enumerate() {
        newest.insert((&*one.name, &one.endpoint), place);
    }
    if newest.len() < all.len() {
        let places: HashSet<usize> = newest.into_values().collect();
        let mut place = 0..;
        all.retain(|_| place.next().is_some_and(|place| places.contains(&place)));
    }
    all
}

impl Registry for RemoteRegistry {
    async fn register(&self, registration: Registration) -> Result<Lease, RegistryError> {
        // How much is too much, the far side says.
        registration.check(usize::MAX)?;
        let answer = self.calls.ask(wire::register(&registration)?).await;
        let name = Some(&*registration.name);
        let answer = answer.map_err(|error| error::failed(self.endpoint(), name, error))?;
        wire::read_lease(&answer).map_err(|error| self.invalid(error))
    }

    async fn unregister(&self, which: &InstanceRef) -> Result<(), RegistryError> {
        check_name(&which.name)?;
        let mut leave = Unregister::new(&*which.name);
        leave.endpoint = which.endpoint.as_ref().map(ToString::to_string);
        leave.instance = which.instance.clone();
        // Sent again, it might take out whoever came after the one that it was for.
        let client = match which.instance {
            Some(_) => &self.calls,
            None => &self.once,
        };
        let answer = client.ask(leave).await;
        answer
            .map(drop)
            .map_err(|error| error::failed(self.endpoint(), None, error))
    }

    async fn heartbeat(&self, which: &InstanceRef) -> Result<(), RegistryError> {
        check_name(&which.name)?;
        let mut beat = Heartbeat::healthy(&*which.name);
        beat.endpoint = which.endpoint.as_ref().map(ToString::to_string);
        beat.instance = which.instance.clone();
        self.ask(beat).await.map(drop)
    }

    async fn lookup(&self, name: &str) -> Result<Vec<Arc<Registration>>, RegistryError> {
        check_name(name)?;
        self.ask_for_list(map! {"method": "lookup", "agent_name": name})
            .await
    }

    async fn list(&self) -> Result<Vec<Arc<Registration>>, RegistryError> {
        self.ask_for_list(map! {"method": "list"}).await
    }

    async fn find(
        &self,
        query: impl Into<Query> + Send,
    ) -> Result<Vec<Arc<Registration>>, RegistryError> {
        let query = query.into();
        query.check()?;
        self.ask_for_list(map! {"method": "find", "query": (query.to_map())})
            .await
    }

    fn watch(&self, scope: WatchScope) -> Watch {
        let (first, longest) = self.backoff;
        watch::watch(self.watches.clone(), scope, Backoff::new(first, longest))
    }
}

impl fmt::Debug for RemoteRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteRegistry")
            .field("endpoint", self.endpoint())
            .finish_non_exhaustive()
    }
}
