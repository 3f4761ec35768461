//! [`RegistrationExt`]: how a backend checks, orders and stores registrations.

use std::cmp::Ordering;

use agentwire_codec::{Map, Timestamp};

use crate::{
    Registration, RegistryError,
    error::FieldError,
    machine,
    owner::OwnerKey,
    registration::{Reach, check, order, wire},
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

    /// Returns true if the endpoint means something else on another machine, so that
    /// [`machine`](Registration::machine) should be set.
    #[must_use]
    fn is_local(&self) -> bool;

    /// Returns true if the endpoint can be called only inside the process that registered it.
    #[must_use]
    fn is_in_process(&self) -> bool;

    /// Returns true if a caller on the machine `here` can call the endpoint, or if the machine of
    /// the registration is unknown.
    #[must_use]
    fn is_callable_from(&self, here: &str) -> bool;

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

    fn is_local(&self) -> bool {
        Reach::of(&self.endpoint).is_local()
    }

    fn is_in_process(&self) -> bool {
        Reach::of(&self.endpoint) == Reach::Process
    }

    fn is_callable_from(&self, here: &str) -> bool {
        let reach = Reach::of(&self.endpoint);
        let there = self.machine.as_deref();
        there.is_none_or(|there| machine::is_same(there, here, reach))
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
