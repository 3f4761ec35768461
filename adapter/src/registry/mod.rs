//! Registries, which let agents on one or more machines find each other by name.
//!
//! A [`Registry`] contains the endpoints and the capabilities of agents. There are three
//! implementations, which pass the same test suite:
//!
//! - [`LocalRegistry`] stores registrations in the memory of this process.
//! - [`RemoteRegistry`] is the client of a [`RegistryServer`]. The server makes any registry
//!   available to other processes, in any language.
//! - `RedisRegistry` stores registrations in a Redis server that several processes and machines
//!   share. It requires the feature `redis`.
//!
//! ```
//! use agentwire::{
//!     map,
//!     registry::{LocalRegistry, Query, Registration, Registry, RegistryServer, RemoteRegistry},
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = RegistryServer::serve(LocalRegistry::new(), "memory://registry-page").await?;
//!
//! let registry = RemoteRegistry::new(server.endpoint())?;
//! let weather = Registration::new("weather", "tcp://10.0.0.7:8080".parse()?)
//!     .with_capabilities(map! {"languages": ["en", "ja"]});
//! registry.register(weather).await?;
//!
//! let found = registry.find(Query::new().capability("languages.ja")).await?;
//! assert_eq!(found[0].name, "weather");
//! # Ok(())
//! # }
//! ```

mod remote;
mod server;
mod wire;

pub use agentwire_registry::{
    DnsRegistry, DuplicatePolicy, ErrorSource, Event, InstanceRef, Lease, LimitKind, LocalRegistry,
    NameProblem, Query, QuotaKind, Registration, RegistrationHandle, RegistrationHandleBuilder,
    RegistrationProblem, Registry, RegistryConfig, RegistryError, Resolve, SharedRegistry,
    StaticRegistry, SystemResolver, TextOr, Version, VersionReq, Watch, WatchScope, backend,
    check_name,
};
#[cfg(feature = "redis")]
pub use agentwire_registry::{RedisOutcomes, RedisRegistry, RedisRegistryBuilder};

pub use self::{
    remote::{RemoteRegistry, RemoteRegistryBuilder},
    server::{RegistryServer, RegistryServerBuilder},
};
