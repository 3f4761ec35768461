//! Methods of registrations for backends: [`RegistrationExt`].

use std::cmp::Ordering;

use agentwire_codec::{Map, Timestamp};

use crate::{
    Registration, RegistryError,
    error::FieldError,
    machine,
    owner::OwnerKey,
    registration::{Reach, check, order, wire},
};

/// Methods of a [`Registration`] for backends.
pub trait RegistrationExt: Sized {
    /// Checks everything that does not depend on other registrations. `max_size` is the maximum
    /// total size of the capabilities and metadata, in bytes of JSON.
    ///
    /// # Errors
    ///
    /// Returns [`RegistryError::InvalidName`] if the name is invalid, and
    /// [`RegistryError::InvalidRegistration`] if anything else is invalid.
    fn check(&self, max_size: usize) -> Result<(), RegistryError>;

    /// Records a heartbeat. The new time is visible through all references to the registration.
    fn record_heartbeat(&self, at: Timestamp);

    /// Returns whether the meaning of the endpoint depends on the machine. A registration of a
    /// local endpoint should set the field [`machine`](Registration::machine).
    #[must_use]
    fn is_local(&self) -> bool;

    /// Returns whether the endpoint can be called only inside the process that registered it.
    #[must_use]
    fn is_in_process(&self) -> bool;

    /// Returns whether a caller on the machine `here` can call the endpoint. If the machine of the
    /// registration is unknown, returns `true`.
    #[must_use]
    fn is_callable_from(&self, here: &str) -> bool;

    /// Returns about how many bytes of memory the registration takes.
    #[must_use]
    fn memory_size(&self) -> usize;

    /// Returns the owner key. Backends send the key in requests to other registries, but must never
    /// send the key to readers.
    #[must_use]
    fn owner(&self) -> Option<&str>;

    /// Sets the times of the registration and of the last heartbeat, according to the clock of the
    /// registry.
    #[must_use]
    fn with_registered_at(self, at: Timestamp) -> Self;

    /// Compares two registrations in listing order: by name, then by version, then by endpoint.
    /// Newer versions come first, and registrations without a version come last. No two
    /// registrations in a registry compare as equal.
    #[must_use]
    fn listing_order(&self, other: &Self) -> Ordering;

    /// Returns whether other processes can parse the text of the endpoint as the same endpoint.
    ///
    /// Custom endpoints and paths that are not valid UTF-8 are not portable.
    #[must_use]
    fn is_portable(&self) -> bool;

    /// Encodes the registration in the form in which it is sent and stored ([PROTOCOL 12]). The
    /// keys are `name`, `endpoint`, `instance`, `version` if there is one, `machine` if there is
    /// one, `capabilities`, `metadata`, `registered_at` and `last_heartbeat`.
    ///
    /// [PROTOCOL 12]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#12-registries
    #[must_use]
    fn to_map(&self) -> Map;

    /// Decodes a registration that [`to_map`](Self::to_map) or another implementation has encoded.
    /// Unknown fields are ignored. This method does not check limits: see [`check`](Self::check).
    ///
    /// # Errors
    ///
    /// Returns a [`FieldError`] if `name` or `endpoint` is missing, or if a known field is
    /// malformed.
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

    fn memory_size(&self) -> usize {
        self.approximate_size()
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
