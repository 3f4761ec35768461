//! For authors of backends: what an implementation of [`Registry`](crate::Registry) needs and its
//! users do not.
//!
//! The extension traits add methods to the public types. Bring them into scope to use them:
//!
//! ```
//! use agentwire_registry::{
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
//! The module `contract`, behind the feature `contract-tests`, tests a backend.

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
