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
//! fn select<'a>(all: &'a [Registration], query: &Query) -> Result<Vec<&'a Registration>, RegistryError> {
//!     query.check()?;
//!     let mut found: Vec<_> = all.iter().filter(|one| query.matches(one)).collect();
//!     found.sort_by(|a, b| a.listing_order(b));
//!     Ok(found)
//! }
//! ```
//!
//! The module `contract`, behind the feature `contract-tests`, tests a backend.

mod error;
mod query;
mod registration;
mod watch;

pub use self::{
    error::RegistryErrorExt, query::QueryExt, registration::RegistrationExt, watch::WatchExt,
};
pub use crate::error::FieldError;
