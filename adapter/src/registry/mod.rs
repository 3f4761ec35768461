//! Registries, through which agents find each other by name on one or more machines.
//!
//! A [`Registry`] lists the endpoints of agents and their capabilities. There are three
//! implementations. A shared test suite ensures that all of them behave in the same way:
//!
//! - [`LocalRegistry`] keeps its registrations in the memory of this process.
//! - [`RemoteRegistry`] is the client of a [`RegistryServer`]. The server makes any registry
//!   available to other processes, in any language.
//! - `RedisRegistry` keeps its registrations in a Redis server that several processes and machines
//!   share. The feature `redis` is required.
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
    DuplicatePolicy, ErrorSource, Event, InstanceRef, Lease, LimitKind, LocalRegistry, NameProblem,
    Query, Registration, RegistrationHandle, RegistrationHandleBuilder, RegistrationProblem,
    Registry, RegistryConfig, RegistryError, SharedRegistry, TextOr, Version, VersionReq, Watch,
    WatchScope, backend, check_name,
};
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub use agentwire_registry::{RedisRegistry, RedisRegistryBuilder};

pub use self::{
    remote::{RemoteRegistry, RemoteRegistryBuilder},
    server::{RegistryServer, RegistryServerBuilder},
};
