//! [`RegistryError`]: everything that can go wrong between an agent and a registry.

mod field;
mod problem;
mod source;
pub(crate) mod wire;

use std::time::Duration;

use agentwire_codec::WireError;
use agentwire_transport::{Endpoint, internal::Untrusted};

pub use self::{
    field::FieldError,
    problem::{LimitKind, NameProblem, RegistrationProblem},
    source::ErrorSource,
};

/// An error of a registry, with a variant for each decision that a caller can make.
///
/// Clones share their source.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The name is not a valid agent name. Choose another.
    #[error("invalid agent name {:?}: {problem}", Untrusted(name))]
    InvalidName {
        /// The name, shortened if it is long.
        name: String,
        /// What is wrong with it.
        problem: NameProblem,
    },

    /// Every registry with these limits would refuse the registration. Correct it.
    #[error("agent {:?} cannot be registered: {problem}", Untrusted(name))]
    InvalidRegistration {
        /// The name of the agent.
        name: String,
        /// What is wrong with it.
        problem: RegistrationProblem,
    },

    /// The query is malformed. Correct it.
    #[error("invalid query")]
    InvalidQuery {
        /// The malformed condition.
        source: FieldError,
    },

    /// The registry allows one endpoint per name, and the name is taken.
    #[error(
        "agent {:?} is already registered, at {}; choose another name",
        Untrusted(name),
        Untrusted(endpoint)
    )]
    Duplicate {
        /// The name.
        name: String,
        /// The endpoint registered under that name.
        endpoint: Endpoint,
    },

    /// Another instance with the same name and endpoint is registered in place of this one.
    /// Register again later: the other may leave.
    #[error(
        "agent {:?} at {} has been replaced by another instance",
        Untrusted(name),
        Untrusted(endpoint)
    )]
    Replaced {
        /// The name.
        name: String,
        /// The endpoint.
        endpoint: Endpoint,
    },

    /// The registration belongs to another instance: neither the owner key nor, without a key, the
    /// instance id is that of the registration. Register again later.
    #[error(
        "agent {:?} at {} belongs to another instance; it can be replaced in \
         {retry_after:?} unless that instance sends a heartbeat",
        Untrusted(name),
        Untrusted(endpoint)
    )]
    Owned {
        /// The name.
        name: String,
        /// The endpoint.
        endpoint: Endpoint,
        /// The time until another instance may replace it, if its owner sends no more heartbeats.
        retry_after: Duration,
    },

    /// The name has as many instances as the registry allows.
    #[error("agent {:?} has {max} instances, which is the limit", Untrusted(name))]
    TooManyInstances {
        /// The name.
        name: String,
        /// The limit.
        max: usize,
    },

    /// The registry is full, by count or by memory. Try again later, or raise its limit.
    #[error("registry full: the limit is {max} {of}")]
    Full {
        /// The limit.
        max: usize,
        /// Which limit it is.
        of: LimitKind,
    },

    /// The registry has reached its limit of concurrent watches. Other operations still work; watch
    /// again later.
    #[error("too many watches: the limit of the registry is {max}")]
    TooManyWatches {
        /// The limit.
        max: usize,
    },

    /// The registration does not exist, or no longer. Register again.
    #[error("agent {:?} is not registered{}", Untrusted(name), at(endpoint.as_ref()))]
    NotRegistered {
        /// The name.
        name: String,
        /// The endpoint, if one was given.
        endpoint: Option<Endpoint>,
    },

    /// Several instances match, and no endpoint was given. Give one.
    #[error(
        "agent {:?} has {instances} instances; say which one by its endpoint",
        Untrusted(name)
    )]
    Ambiguous {
        /// The name.
        name: String,
        /// How many instances match.
        instances: usize,
    },

    /// The registry cannot be reached. Try again later.
    #[error("the registry at {} cannot be reached", Untrusted(registry))]
    Unavailable {
        /// The registry's address.
        registry: String,
        /// Why it cannot be reached.
        source: ErrorSource,
    },

    /// The registry did not answer in time. The operation may have been carried out.
    #[error("no answer from the registry within {limit:?}")]
    NoAnswer {
        /// The time limit.
        limit: Duration,
    },

    /// The registry sent something that is not a valid answer.
    #[error("invalid answer from the registry at {}", Untrusted(registry))]
    InvalidAnswer {
        /// The registry's address.
        registry: String,
        /// What is wrong with the answer.
        source: ErrorSource,
    },

    /// The request is too large, or contains values that one of the formats lacks. Ask for less.
    #[error("cannot encode the request to the registry")]
    Encode {
        /// Why it cannot be encoded.
        source: ErrorSource,
    },

    /// The registry is reachable but refuses: a wrong password, missing permissions, or no memory
    /// left. An operator has to correct this.
    #[error("the registry at {} refused the operation", Untrusted(registry))]
    Refused {
        /// The registry's address.
        registry: String,
        /// The reason that it gave.
        source: ErrorSource,
    },

    /// The server does not know the registry protocol. Correct the address.
    #[error("{} is not an agentwire registry", Untrusted(registry))]
    NotARegistry {
        /// The server's address.
        registry: String,
        /// The server's answer.
        #[source]
        error: Box<WireError>,
    },

    /// The registry answered with an error that this version does not know.
    #[error("the registry failed")]
    Remote(#[source] WireError),

    /// A setting is out of range.
    #[error("invalid setting {setting}: {problem}")]
    InvalidSetting {
        /// The name of the setting.
        setting: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl RegistryError {
    /// Returns true if the registration is unknown, so that the agent should register again.
    #[must_use]
    pub fn is_not_registered(&self) -> bool {
        matches!(self, Self::NotRegistered { .. })
    }

    /// Returns true if another instance has the name, or the name at that endpoint.
    #[must_use]
    pub fn is_duplicate(&self) -> bool {
        matches!(
            self,
            Self::Duplicate { .. } | Self::Replaced { .. } | Self::Owned { .. }
        )
    }

    /// Returns true if the registry could not be reached, or did not answer in time.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::NoAnswer { .. })
    }

    /// Returns true if the same operation may succeed later without a change by the caller.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Unavailable { .. }
                | Self::NoAnswer { .. }
                | Self::InvalidAnswer { .. }
                | Self::Refused { .. }
                | Self::Remote(_)
                | Self::Duplicate { .. }
                | Self::Owned { .. }
                | Self::Replaced { .. }
                | Self::TooManyInstances { .. }
                | Self::TooManyWatches { .. }
                | Self::Full { .. }
                | Self::NotRegistered { .. }
        )
    }
}

fn at(endpoint: Option<&Endpoint>) -> String {
    endpoint.map_or_else(String::new, |endpoint| {
        format!(" at {}", Untrusted(endpoint))
    })
}
