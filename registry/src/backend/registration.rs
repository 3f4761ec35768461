//! [`RegistrationExt`]: how a backend checks, orders and stores registrations.

use std::cmp::Ordering;

use agentwire_codec::{Map, Timestamp};

use crate::{
    Registration, RegistryError,
    error::FieldError,
    owner::OwnerKey,
    registration::{check, order, wire},
};

/// What a backend needs of a [`Registration`].
pub trait RegistrationExt: Sized {
    /// Checks everything that does not depend on other registrations. `max_size` bounds
    /// capabilities and metadata together, in bytes of JSON.
    ///
    /// # Errors
    ///
    /// [`RegistryError::InvalidName`] and [`RegistryError::InvalidRegistration`].
    fn check(&self, max_size: usize) -> Result<(), RegistryError>;

    /// Records a heartbeat. Everyone who holds the registration sees it at once.
    fn record_heartbeat(&self, at: Timestamp);

    /// Returns the owner key, for requests to another registry. It must not reach readers.
    #[must_use]
    fn owner(&self) -> Option<&str>;

    /// Sets the time of registration, and of the last heartbeat, by the registry's clock.
    #[must_use]
    fn with_registered_at(self, at: Timestamp) -> Self;

    /// Compares by the order in which registries list: by name, then newest version first and
    /// unversioned last, then by endpoint. No two registrations of one registry are equal.
    #[must_use]
    fn listing_order(&self, other: &Self) -> Ordering;

    /// Returns true if the endpoint can be written as text that others read as the same endpoint.
    ///
    /// A path that is not UTF-8 and a custom endpoint cannot.
    #[must_use]
    fn is_portable(&self) -> bool;

    /// Returns the registration as it is sent and stored (PROTOCOL 12): `name`, `endpoint`,
    /// `instance`, `version` if there is one, `capabilities`, `metadata`, `registered_at` and
    /// `last_heartbeat`.
    #[must_use]
    fn to_map(&self) -> Map;

    /// Reads a registration that [`to_map`](Self::to_map) or another implementation wrote.
    /// Unknown fields are ignored. Limits are not checked here but by [`check`](Self::check).
    ///
    /// # Errors
    ///
    /// A [`FieldError`] if `name` or `endpoint` is missing, or a known field is malformed.
    fn from_map(map: Map) -> Result<Self, FieldError>;
}

impl RegistrationExt for Registration {
    fn check(&self, max_size: usize) -> Result<(), RegistryError> {
        check::check(self, max_size)
    }

    fn record_heartbeat(&self, at: Timestamp) {
        self.last_heartbeat.set(at);
    }

    fn owner(&self) -> Option<&str> {
        self.owner.as_ref().map(OwnerKey::as_str)
    }

    fn with_registered_at(mut self, at: Timestamp) -> Self {
        self.registered_at = at;
        self.last_heartbeat.set(at);
        self
    }

    fn listing_order(&self, other: &Self) -> Ordering {
        order::compare(self, other)
    }

    fn is_portable(&self) -> bool {
        wire::is_portable(self)
    }

    fn to_map(&self) -> Map {
        wire::to_map(self)
    }

    fn from_map(map: Map) -> Result<Self, FieldError> {
        wire::from_map(map)
    }
}
