//! Where agents find each other by name: on one machine and on many.
//!
//! A [`Registry`] holds where agents can be called and what they can do. [`LocalRegistry`] is one inside this
//! process; a [`RegistryServer`] serves any for other processes, in whatever language, and a [`RemoteRegistry`] is
//! the client of one. With the feature `redis` there is `RedisRegistry`, in a Redis that processes and machines share.
//! All of them behave alike.
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
pub use agentwire_registry::{RedisRegistry, RedisRegistryBuilder};

pub use self::{
    remote::{RemoteRegistry, RemoteRegistryBuilder},
    server::{RegistryServer, RegistryServerBuilder},
};
