//! Where agents find each other by name.
//!
//! An agent registers where it can be called and what it can do, says every now and then that it is alive, and is
//! found by others. Most users want the crate `agentwire`, which re-exports this one as `agentwire::registry`.
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
//!     .with_capabilities(map! {"languages": ["en", "ja"]});
//! registry.register(weather).await?;
//!
//! let found = registry.find(&Query::new().capability("languages.ja")).await?;
//! assert_eq!(found[0].name, "weather");
//!
//! assert!(matches!(watch.next().await, Some(Ok(Event::Snapshot { .. }))));
//! assert!(matches!(watch.next().await, Some(Ok(Event::Joined(joined))) if joined.name == "weather"));
//! # Ok(())
//! # }
//! ```
//!
//! # Contents
//!
//! - **What is registered**: a [`Registration`], whose key is its name and its endpoint; an [`InstanceRef`] says which
//!   one is meant.
//! - **The interface**: [`Registry`], and [`SharedRegistry`] for one of any kind.
//! - **Backends**: [`LocalRegistry`], inside this process, with a [`RegistryConfig`]; `RedisRegistry`, in a Redis that
//!   processes and machines share, with the feature `redis`.
//! - **Finding**: by name, or by a [`Query`] for capabilities, tools, versions and metadata.
//! - **Staying registered**: a [`RegistrationHandle`] sends the heartbeats.
//! - **Watching**: a [`Watch`] of a [`WatchScope`] is a stream of [`Event`]s.
//!
//! # Leases
//!
//! A registration holds for 90 s after each heartbeat, and a heartbeat is sent every 30 s, unless a registry
//! is set otherwise: it tells whoever registers, by the [`Lease`]. One whose lease is over is never given out.
//!
//! # Limits
//!
//! | what | default | at the limit |
//! |---|---|---|
//! | registrations | 65 536 | [`RegistryError::Full`] |
//! | what they take of memory, in a [`LocalRegistry`] | 256 MiB | [`RegistryError::Full`] |
//! | instances of one name | 1024 | [`RegistryError::TooManyInstances`] |
//! | capabilities and metadata of one registration | 64 KiB of JSON, 64 levels | [`RegistryError::InvalidRegistration`] |
//! | a name, an instance id, a version | 255 bytes | [`RegistryError::InvalidName`], [`RegistryError::InvalidRegistration`] |
//! | an endpoint | 1024 bytes | [`RegistryError::InvalidRegistration`] |
//! | events that a reader of a watch is behind | 1024 | a snapshot, marked as a resync |
//!
//! # Features
//!
//! - `redis`: the backend `RedisRegistry`.
//! - `contract-tests`: the module `contract`, a suite of tests that every backend must pass.

mod config;
#[cfg(any(test, feature = "contract-tests"))]
pub mod contract;
mod error;
mod event;
mod instance_ref;
mod lease;
mod local;
mod query;
#[cfg(feature = "redis")]
pub mod redis;
mod registrant;
mod registration;
mod registry;
mod scope;
mod watch;

pub use semver::{Version, VersionReq};

#[cfg(feature = "redis")]
pub use crate::redis::{RedisRegistry, RedisRegistryBuilder};
pub use crate::{
    config::{DuplicatePolicy, RegistryConfig},
    error::{ErrorSource, FieldError, LimitKind, NameProblem, RegistrationProblem, RegistryError},
    event::Event,
    instance_ref::InstanceRef,
    lease::Lease,
    local::LocalRegistry,
    query::Query,
    registrant::{RegistrationHandle, RegistrationHandleBuilder},
    registration::{Registration, check_name},
    registry::{Registry, SharedRegistry},
    scope::WatchScope,
    watch::Watch,
};
