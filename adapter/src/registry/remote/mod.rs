//! A client of a registry in another process.

mod budget;
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
    backend::{FieldError, InstanceRefExt, QueryExt, RegistrationExt, this_machine},
    check_name,
};
use agentwire_transport::{Endpoint, Error as TransportError, internal::Backoff};
use tokio::time::Instant;

use self::budget::{Budget, ListLimits};
pub use self::builder::RemoteRegistryBuilder;
use crate::{CallOptions, Error, RemoteAgent, RetryPolicy, registry::wire};

/// A client of a [`RegistryServer`](crate::registry::RegistryServer) in another process.
///
/// The client connects on its first call, and reconnects after a restart of the server. Clones
/// share their connections. Each [`Watch`] has its own connection. A watch that loses its
/// connection reconnects and reports a new snapshot.
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
    endpoint: Endpoint,
    calls: RemoteAgent,
    /// A separate client for watches, whose connections are never reused and do not count towards
    /// the limit for calls.
    watches: RemoteAgent,
    timeout: Duration,
    retry: RetryPolicy,
    limits: ListLimits,
    include_remote_local: bool,
    /// The first and the maximum delay before a lost watch reconnects.
    backoff: (Duration, Duration),
}

impl RemoteRegistry {
    /// Creates a client of the registry at `endpoint`, with default settings. The client connects
    /// on its first call.
    ///
    /// # Errors
    ///
    /// Returns [`Error::InvalidEndpoint`] if the endpoint is not valid.
    pub fn new<E>(endpoint: E) -> Result<Self, Error>
    where
        E: TryInto<Endpoint>,
        TransportError: From<E::Error>,
    {
        Self::builder(endpoint).build()
    }

    /// Returns a builder for a client of the registry at `endpoint`.
    pub fn builder<E>(endpoint: E) -> RemoteRegistryBuilder
    where
        E: TryInto<Endpoint>,
        TransportError: From<E::Error>,
    {
        RemoteRegistryBuilder::new(endpoint)
    }

    /// Returns the endpoint of the registry.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    async fn call(&self, body: impl Into<Body>, timeout: Duration) -> Result<Map, RegistryError> {
        let options = CallOptions::new().timeout(timeout);
        let answer = self.calls.ask(body, &options).await;
        answer.map_err(|error| error::from_call_error(self.endpoint(), None, error))
    }

    /// Fetches all pages of a list.
    async fn fetch_list(&self, mut request: Map) -> Result<Vec<Arc<Registration>>, RegistryError> {
        self.add_reader(&mut request);
        let timeout = self.timeout.min(self.limits.timeout);
        let deadline = Instant::now() + timeout;
        let mut all = Vec::new();
        let mut budget = Budget::new(self.limits.max_size);
        loop {
            // The call ends at the deadline by itself, because its error says more than that the
            // time is over, for example that the registry refuses connections.
            let left = deadline.saturating_duration_since(Instant::now());
            let mut answer = self.call(Request::Other(request.clone()), left).await?;
            let page = wire::read_page(&mut answer);
            let (page, len) = page.map_err(|error| self.invalid(error))?;
            budget.spend(&page, self.endpoint())?;
            all.extend(page);
            match answer.get_mut("next").map(std::mem::take) {
                None | Some(Value::Null) => return Ok(without_duplicates(all)),
                Some(_) if len == 0 || all.len() > MAX_REGISTRATIONS => {
                    let problem = FieldError::new("next", "a list that ends");
                    return Err(self.invalid(problem));
                }
                Some(next) => request.insert("after", next),
            };
        }
    }

    /// Adds the machine of this process to a request, so that the registry can omit unreachable
    /// endpoints.
    fn add_reader(&self, request: &mut Map) {
        if let Some(machine) = this_machine() {
            request.insert("machine", machine);
        }
        if self.include_remote_local {
            request.insert("remote_local", true);
        }
    }

    fn invalid(&self, error: FieldError) -> RegistryError {
        error::invalid_answer(self.endpoint(), error)
    }
}

/// Removes all but the last of several registrations with the same name and endpoint. If an agent
/// registers again between two pages, its registration may move to a later page and be listed
/// twice.
fn without_duplicates(mut all: Vec<Arc<Registration>>) -> Vec<Arc<Registration>> {
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
        // The client does not know the size limit of the server, so the server checks the size.
        registration.check(usize::MAX)?;
        let request = wire::encode_registration(&registration)?;
        let answer = self.calls.ask(request, &CallOptions::new()).await;
        let name = Some(&*registration.name);
        let answer =
            answer.map_err(|error| error::from_call_error(self.endpoint(), name, error))?;
        wire::read_lease(&answer).map_err(|error| self.invalid(error))
    }

    async fn unregister(&self, which: &InstanceRef) -> Result<(), RegistryError> {
        check_name(&which.name)?;
        let mut leave = Unregister::new(&*which.name);
        leave.endpoint = which.endpoint.as_ref().map(ToString::to_string);
        leave.instance = which.instance.clone();
        leave.owner = which.owner().map(str::to_owned);
        // Without an instance id or an owner key, a second request might unregister a successor.
        let options = if which.instance.is_some() || leave.owner.is_some() {
            CallOptions::new()
        } else {
            CallOptions::new().retry(self.retry.clone().resend(0))
        };
        let answer = self.calls.ask(leave, &options).await;
        answer
            .map(drop)
            .map_err(|error| error::from_call_error(self.endpoint(), None, error))
    }

    async fn heartbeat(&self, which: &InstanceRef) -> Result<(), RegistryError> {
        check_name(&which.name)?;
        let mut beat = Heartbeat::healthy(&*which.name);
        beat.endpoint = which.endpoint.as_ref().map(ToString::to_string);
        beat.instance = which.instance.clone();
        beat.owner = which.owner().map(str::to_owned);
        self.call(beat, self.timeout).await.map(drop)
    }

    async fn lookup(&self, name: &str) -> Result<Vec<Arc<Registration>>, RegistryError> {
        check_name(name)?;
        self.fetch_list(map! {"method": "lookup", "agent_name": name})
            .await
    }

    async fn list(&self) -> Result<Vec<Arc<Registration>>, RegistryError> {
        self.fetch_list(map! {"method": "list"}).await
    }

    async fn find(
        &self,
        query: impl Into<Query> + Send,
    ) -> Result<Vec<Arc<Registration>>, RegistryError> {
        let query = query.into();
        query.check()?;
        self.fetch_list(map! {"method": "find", "query": (query.to_map())})
            .await
    }

    fn watch(&self, scope: WatchScope) -> Watch {
        let (first, longest) = self.backoff;
        let backoff = Backoff::new(first, longest);
        let mut request = map! {"method": "watch"};
        if let WatchScope::Name(name) = &scope {
            request.insert("agent_name", &**name);
        }
        self.add_reader(&mut request);
        watch::watch(
            self.watches.clone(),
            self.endpoint.clone(),
            self.limits,
            scope,
            request,
            backoff,
        )
    }
}

impl fmt::Debug for RemoteRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteRegistry")
            .field("endpoint", self.endpoint())
            .finish_non_exhaustive()
    }
}

/// The maximum number of registrations in a list or a snapshot. The limit prevents a faulty
/// registry from exhausting the memory of its clients.
const MAX_REGISTRATIONS: usize = 1 << 20;
