//! The error type of registries: [`RegistryError`].

mod field;
mod problem;
mod source;
pub(crate) mod wire;

use std::time::Duration;

use agentwire_codec::{ErrorCode, WireError};
use agentwire_transport::{Endpoint, internal::Untrusted};

pub use self::{
    field::FieldError,
    problem::{LimitKind, NameProblem, QuotaKind, RegistrationProblem},
    source::ErrorSource,
};

/// An error of a registry. Each variant is a case that a caller may want to handle differently.
///
/// Clones of an error share its source.
///
/// ```
/// # mod agentwire { pub extern crate agentwire_registry as registry; }
/// use agentwire::registry::{LocalRegistry, Registration, Registry, RegistryError};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let registry = LocalRegistry::new();
/// let nameless = Registration::new("", "tcp://10.0.0.7:8080".parse()?);
/// match registry.register(nameless).await {
///     Err(RegistryError::InvalidName { .. }) => println!("choose another name"),
///     Err(error) if error.is_unavailable() => println!("try again later"),
///     other => println!("{other:?}"),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The name is not a valid agent name. Choose a different name.
    #[error("invalid agent name {:?}: {problem}", Untrusted(name))]
    InvalidName {
        /// The name, shortened if it is long.
        name: String,
        /// What is wrong with it.
        problem: NameProblem,
    },

    /// The registration is invalid. Correct the registration before trying again.
    #[error("agent {:?} cannot be registered: {problem}", Untrusted(name))]
    InvalidRegistration {
        /// The name of the agent.
        name: String,
        /// What is wrong with it.
        problem: RegistrationProblem,
    },

    /// The query is malformed. Correct the query before trying again.
    #[error("invalid query")]
    InvalidQuery {
        /// The malformed condition.
        source: FieldError,
    },

    /// The name is already registered, and the registry allows only one endpoint for each name.
    #[error(
        "agent {:?} is already registered, at {}; choose another name",
        Untrusted(name),
        Untrusted(endpoint)
    )]
    Duplicate {
        /// The name.
        name: String,
        /// The endpoint that is registered with the name.
        endpoint: Endpoint,
    },

    /// The registration has been replaced by another instance with the same name and endpoint.
    /// Register again later, because the other instance may leave.
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

    /// The registration belongs to another instance. The request does not contain the owner key of
    /// the registration or, if the registration has no key, its instance id. Try again later.
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
        /// The time until another instance can replace the registration, if the owner sends no more
        /// heartbeats.
        retry_after: Duration,
    },

    /// The name has the maximum number of instances.
    #[error("agent {:?} has {max} instances, which is the limit", Untrusted(name))]
    TooManyInstances {
        /// The name.
        name: String,
        /// The limit.
        max: usize,
    },

    /// The registry has reached a limit on registrations or memory. Try again later, or raise the
    /// limit.
    #[error("registry full: the limit is {max} {of}")]
    Full {
        /// The limit.
        max: usize,
        /// The kind of the limit.
        of: LimitKind,
    },

    /// The registry has reached its limit on concurrent watches. Try again later. Other operations
    /// are not affected.
    #[error("too many watches: the limit of the registry is {max}")]
    TooManyWatches {
        /// The limit.
        max: usize,
    },

    /// This connection or this peer has as many registrations or watches as the registry allows
    /// each of them. Other peers are served. End some, try again later, or raise the quota of the
    /// registry.
    #[error("quota reached: the registry allows {max} {of}")]
    QuotaReached {
        /// The quota.
        max: usize,
        /// Which quota it is.
        of: QuotaKind,
    },

    /// The registration does not exist or has expired. Register again.
    #[error("agent {:?} is not registered{}", Untrusted(name), at(endpoint.as_ref()))]
    NotRegistered {
        /// The name.
        name: String,
        /// The endpoint, if one was given.
        endpoint: Option<Endpoint>,
    },

    /// Several instances match, and the request contains no endpoint. Specify the endpoint.
    #[error(
        "agent {:?} has {instances} instances; specify the endpoint of one",
        Untrusted(name)
    )]
    Ambiguous {
        /// The name.
        name: String,
        /// The number of matching instances.
        instances: usize,
    },

    /// The registry cannot be reached. Try again later.
    #[error("the registry at {} cannot be reached", Untrusted(registry))]
    Unavailable {
        /// The registry's address.
        registry: String,
        /// The reason why the registry cannot be reached.
        source: ErrorSource,
    },

    /// The registry did not answer in time. The operation may have taken effect.
    #[error("no answer from the registry within {limit:?}")]
    NoAnswer {
        /// The time limit.
        limit: Duration,
    },

    /// The registry sent an invalid answer.
    #[error("invalid answer from the registry at {}", Untrusted(registry))]
    InvalidAnswer {
        /// The registry's address.
        registry: String,
        /// What is wrong with the answer.
        source: ErrorSource,
    },

    /// A list or a snapshot takes more memory than this client accepts. Ask for less, or raise the
    /// limit of the client.
    #[error(
        "the answer of the registry at {} takes more than {max} bytes; ask for less or raise \
         `max_list_size`",
        Untrusted(registry)
    )]
    AnswerTooLarge {
        /// The registry's address.
        registry: String,
        /// The limit, in bytes of memory.
        max: usize,
    },

    /// The request is too large, or contains a value that one of the formats does not support.
    /// Change the request before trying again.
    #[error("cannot encode the request to the registry")]
    Encode {
        /// The reason why the request cannot be encoded.
        source: ErrorSource,
    },

    /// The registry is reachable but refuses the operation, for example because of a wrong
    /// password, a missing permission or a lack of memory. An operator must correct the problem.
    #[error("the registry at {} refused the operation", Untrusted(registry))]
    Refused {
        /// The registry's address.
        registry: String,
        /// The reason for the refusal.
        source: ErrorSource,
    },

    /// The server does not support the registry protocol. Correct the address.
    #[error("{} is not an agentwire registry", Untrusted(registry))]
    NotARegistry {
        /// The server's address.
        registry: String,
        /// The server's answer.
        #[source]
        error: Box<WireError>,
    },

    /// The registry answered with an error that is unknown to this version.
    #[error("the registry failed")]
    Remote(#[source] WireError),

    /// Agents cannot register in the registry, because something else determines its contents, such
    /// as DNS. Do not register.
    #[error("the registry at {} is read-only", Untrusted(registry))]
    ReadOnly {
        /// The registry's address.
        registry: String,
    },

    /// The address of the registry is not valid.
    #[error("{:?} is not the address of a registry: {problem}", Untrusted(address))]
    InvalidAddress {
        /// The address.
        address: String,
        /// What is wrong with it.
        problem: String,
    },

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
    /// Returns whether the registration is unknown to the registry. If so, the agent should
    /// register again.
    #[must_use]
    pub fn is_not_registered(&self) -> bool {
        matches!(self, Self::NotRegistered { .. })
    }

    /// Returns whether another instance has registered the same name, or the same name and
    /// endpoint.
    #[must_use]
    pub fn is_duplicate(&self) -> bool {
        matches!(
            self,
            Self::Duplicate { .. } | Self::Replaced { .. } | Self::Owned { .. }
        )
    }

    /// Returns whether the registry could not be reached or did not answer in time.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::NoAnswer { .. })
    }

    /// Returns whether the registry does not know the client, or does not permit the operation.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        let Self::Remote(error) = self else {
            return false;
        };
        [ErrorCode::UNAUTHENTICATED, ErrorCode::PERMISSION_DENIED].contains(&error.code)
    }

    /// Returns whether the same operation may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        !self.is_denied()
            && matches!(
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
                    | Self::QuotaReached { .. }
                    | Self::NotRegistered { .. }
            )
    }
}

fn at(endpoint: Option<&Endpoint>) -> String {
    endpoint.map_or_else(String::new, |endpoint| {
        format!(" at {}", Untrusted(endpoint))
    })
}
