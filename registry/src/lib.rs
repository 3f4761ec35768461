//! Service discovery for agentwire.
//!
//! An agent registers its name, endpoint and capabilities, and renews the registration with
//! heartbeats. Callers find the agent by its name or with a query. Most users should use the crate
//! `agentwire`, which re-exports this crate as `agentwire::registry`.
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
//! - **Data**: a [`Registration`] describes an agent at an endpoint. An [`InstanceRef`] refers to a
//!   registration.
//! - **Interface**: the trait [`Registry`], and [`SharedRegistry`], a type-erased registry.
//! - **Backends**: [`LocalRegistry`] stores registrations in this process. With the feature
//!   `redis`, `RedisRegistry` stores registrations in Redis. Both are configured with a
//!   [`RegistryConfig`]. [`DnsRegistry`] and [`StaticRegistry`] are read-only.
//! - **Queries**: a [`Query`] selects registrations by name, capability, tool, version or metadata.
//! - **Heartbeats**: a [`RegistrationHandle`] keeps an agent registered.
//! - **Watches**: a [`Watch`] is a stream of [`Event`]s within a [`WatchScope`].
//! - **Custom backends**: the module [`backend`] contains the tools for writing a backend.
//!
//! # Leases
//!
//! By default, a registration expires 90 s after the last heartbeat, and an agent sends a heartbeat
//! every 30 s. When an agent registers, the registry returns the [`Lease`]. Expired registrations
//! are never returned.
//!
//! # Limits
//!
//! | what | default | at the limit |
//! |---|---|---|
//! | registrations | 65,536 | [`RegistryError::Full`] |
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

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod backend;
mod config;
#[cfg(any(test, feature = "contract-tests"))]
pub mod contract;
mod dns;
mod error;
mod event;
mod fixed;
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
pub use crate::redis::{OutcomeClaim, RedisOutcomes, RedisRegistry, RedisRegistryBuilder};
pub use crate::{
    config::{DuplicatePolicy, RegistryConfig},
    dns::{DnsRegistry, Resolve, SystemResolver},
    error::{ErrorSource, LimitKind, NameProblem, QuotaKind, RegistrationProblem, RegistryError},
    event::Event,
    fixed::StaticRegistry,
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
