//! Types and traits for implementations of [`Registry`](crate::Registry).
//!
//! The extension traits add methods to the public types. To use these methods, import the traits:
//!
//! ```
//! # mod agentwire { pub extern crate agentwire_registry as registry; }
//! use agentwire::registry::{
//!     Query, Registration, RegistryError,
//!     backend::{QueryExt, RegistrationExt},
//! };
//!
//! fn accept(registration: &Registration) -> Result<(), RegistryError> {
//!     registration.check(64 * 1024)
//! }
//!
//! fn select(
//!     mut all: Vec<Registration>,
//!     query: &Query,
//! ) -> Result<Vec<Registration>, RegistryError> {
//!     query.check()?;
//!     all.retain(|one| query.matches(one));
//!     all.sort_by(|a, b| a.listing_order(b));
//!     Ok(all)
//! }
//! ```
//!
//! The module `contract` contains a test suite for backends. It requires the feature
//! `contract-tests`.

mod error;
mod instance_ref;
mod query;
mod registration;
mod watch;

pub use self::{
    error::RegistryErrorExt, instance_ref::InstanceRefExt, query::QueryExt,
    registration::RegistrationExt, watch::WatchExt,
};
pub use crate::{error::FieldError, machine::this_machine};
