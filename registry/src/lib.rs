//! Service discovery for agentwire: agents register under a name and are found by it.
//!
//! An agent registers its endpoint and its capabilities and renews the registration with
//! heartbeats. Callers look it up by name or by a query. Most users want the crate `agentwire`,
//! which re-exports this one as `agentwire::registry`.
//!
//! ```
//! use agentwire_codec::map;
//! use agentwire_registry::{Event, LocalRegistry, Query, Registration, Registry, WatchScope};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let registry = LocalRegistry::new();
//! let mut watch = registry.watch(WatchScope::All);
//!
//! let weather = Registration::new("weather", "unix:///run/agents/weather.sock".parse()?)
//!     .with_version("1.2.0")
//!     .with_capabilities(map! {"languages": ["en", "ja"]});
//! registry.register(weather).await?;
//!
//! let found = registry.find(Query::new().capability("languages.ja").version("^1")).await?;
//! assert_eq!(found[0].name, "weather");
//!
//! assert!(matches!(watch.next().await, Some(Ok(Event::Snapshot { .. }))));
//! match watch.next().await.expect("the registry exists")? {
//!     Event::Joined(registration) => assert_eq!(registration.name, "weather"),
//!     other => panic!("{other:?}"),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Contents
//!
//! - **Data**: a [`Registration`], whose key is its name and endpoint, and an [`InstanceRef`],
//!   which identifies one.
//! - **Interface**: the trait [`Registry`], and [`SharedRegistry`] for a registry of any type.
//! - **Backends**: [`LocalRegistry`] inside this process; `RedisRegistry`, with the feature
//!   `redis`, in a Redis that processes and machines share. Both take a [`RegistryConfig`].
//! - **Finding**: by name, or by a [`Query`] for capabilities, tools, versions and metadata.
//! - **Staying registered**: a [`RegistrationHandle`] sends the heartbeats.
//! - **Watching**: a [`Watch`] of a [`WatchScope`] is a stream of [`Event`]s.
//! - **Writing a backend**: the module [`backend`].
//!
//! # Leases
//!
//! A registration lives for 90 s after each heartbeat, and an agent sends one every 30 s. A
//! registry can be configured otherwise; it returns the [`Lease`] to every agent that registers. An
//! expired registration is never returned.
//!
//! # Limits
//!
//! | what | default | at the limit |
//! |---|---|---|
//! | registrations | 65 536 | [`RegistryError::Full`] |
//! | memory of a [`LocalRegistry`]'s registrations | 256 MiB | [`RegistryError::Full`] |
//! | instances of one name | 1024 | [`RegistryError::TooManyInstances`] |
//! | capabilities and metadata of one registration | 64 KiB of JSON, 64 levels | [`RegistryError::InvalidRegistration`] |
//! | a name, an instance id, a version | 255 bytes | [`RegistryError::InvalidName`], [`RegistryError::InvalidRegistration`] |
//! | an endpoint | 1024 bytes | [`RegistryError::InvalidRegistration`] |
//! | unread events of a watch | 1024 | a snapshot, marked as a resync |
//!
//! # Features
//!
//! - `redis`: the backend `RedisRegistry`.
//! - `contract-tests`: the module `contract`, a test suite for backends.

pub mod backend;
mod config;
#[cfg(any(test, feature = "contract-tests"))]
pub mod contract;
mod error;
mod event;
mod instance_ref;
mod lease;
mod local;
mod machine;
mod owner;
mod query;
#[cfg(feature = "redis")]
pub mod redis;
mod registration;
mod registration_handle;
mod registry;
mod scope;
mod text_or;
mod watch;

pub use semver::{Version, VersionReq};

#[cfg(feature = "redis")]
pub use crate::redis::{RedisRegistry, RedisRegistryBuilder};
pub use crate::{
    config::{DuplicatePolicy, RegistryConfig},
    error::{ErrorSource, LimitKind, NameProblem, RegistrationProblem, RegistryError},
    event::Event,
    instance_ref::InstanceRef,
    lease::Lease,
    local::LocalRegistry,
    query::Query,
    registration::{Registration, check_name},
    registration_handle::{RegistrationHandle, RegistrationHandleBuilder},
    registry::{Registry, SharedRegistry},
    scope::WatchScope,
    text_or::TextOr,
    watch::Watch,
};
