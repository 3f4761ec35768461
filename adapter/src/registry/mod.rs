//! Registries, in which agents find each other by name, on one machine or on many.
//!
//! A [`Registry`] lists where agents can be called and what they can do. There are three, and
//! one suite of tests holds them to the same behaviour:
//!
//! - [`LocalRegistry`] lives inside this process.
//! - [`RemoteRegistry`] is the client of a [`RegistryServer`], which serves any registry to other
//!   processes in any language.
//! - `RedisRegistry` keeps its registrations in a Redis that processes and machines share. It needs
//!   the feature `redis`.
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
