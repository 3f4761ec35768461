mod field;
mod problem;
mod source;
mod wire;

use std::time::Duration;

use agentwire_codec::WireError;
use agentwire_transport::Endpoint;

pub use self::{
    field::FieldError,
    problem::{LimitKind, NameProblem, RegistrationProblem},
    source::ErrorSource,
};

/// What can go wrong between an agent and a registry. A variant for each decision that a caller may take.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// That cannot be the name of an agent. Choose another.
    #[error("{name:?} is not a name for an agent: {problem}")]
    InvalidName {
        /// The name, shortened if it is long.
        name: String,
        /// What is wrong with it.
        problem: NameProblem,
    },

    /// The registration would be refused by every registry of these limits. Mend it.
    #[error("agent {name:?} cannot be registered: {problem}")]
    InvalidRegistration {
        /// The name of the agent.
        name: String,
        /// What is wrong with it.
        problem: RegistrationProblem,
    },

    /// The registry takes one endpoint for each name, and the name is taken.
    #[error("agent {name:?} is registered already, at {endpoint}; choose another name")]
    Duplicate {
        /// The name.
        name: String,
        /// Who has it.
        endpoint: Endpoint,
    },

    /// Another instance has registered at the same endpoint under the same name, and counts now.
    #[error("agent {name:?} at {endpoint} has been replaced by another instance")]
    Replaced {
        /// The name.
        name: String,
        /// The endpoint.
        endpoint: Endpoint,
    },

    /// There are as many instances of this name as the registry takes.
    #[error("agent {name:?} has {max} instances, which is the limit")]
    TooManyInstances {
        /// The name.
        name: String,
        /// The limit.
        max: usize,
    },

    /// The registry has as many registrations as it takes, or as large ones. Try again later, or raise its limit.
    #[error("the registry is full: it takes {max} {of}")]
    Full {
        /// The limit.
        max: usize,
        /// Of what.
        of: LimitKind,
    },

    /// The registry serves as many watches as it does. Lookups and everything else go on; watch again later.
    #[error("the registry serves no more watches: it serves {max}")]
    TooManyWatches {
        /// The limit.
        max: usize,
    },

    /// There is no such registration, or not any more. Register again.
    #[error("agent {name:?} is not registered{}", at(endpoint.as_ref()))]
    NotRegistered {
        /// The name.
        name: String,
        /// The endpoint, if one was given.
        endpoint: Option<Endpoint>,
    },

    /// Several instances are meant, as no endpoint was named. Name it, too.
    #[error("agent {name:?} has {instances} instances; name the endpoint of the one that is meant")]
    Ambiguous {
        /// The name.
        name: String,
        /// How many are meant.
        instances: usize,
    },

    /// The registry cannot be reached. Try again later.
    #[error("the registry at {registry} cannot be reached")]
    Unavailable {
        /// Where it should be.
        registry: String,
        /// Why.
        source: ErrorSource,
    },

    /// The registry took longer than it was given. What was asked of it may have been done or not.
    #[error("the registry did not answer within {limit:?}")]
    NoAnswer {
        /// How long it was given.
        limit: Duration,
    },

    /// The registry answered something that is no answer.
    #[error("the registry at {registry} sent an invalid answer")]
    InvalidAnswer {
        /// Where it is.
        registry: String,
        /// What is wrong with it.
        source: ErrorSource,
    },

    /// What was asked cannot be sent: it is too large, or holds what one of the formats lacks. Ask for less.
    #[error("what is asked of the registry cannot be sent")]
    Encode {
        /// Why not.
        source: ErrorSource,
    },

    /// The registry is there and does not want to: a wrong password, a right or memory that is missing. Somebody has to
    /// mend it there.
    #[error("the registry at {registry} refused")]
    Refused {
        /// Where it is.
        registry: String,
        /// What it said.
        source: ErrorSource,
    },

    /// Whoever is there does not know what a registry is asked. Mend the address.
    #[error("whoever answers at {registry} is no registry")]
    NotARegistry {
        /// Where it should be.
        registry: String,
        /// What was answered.
        #[source]
        error: Box<WireError>,
    },

    /// The registry answered with an error that this version does not know.
    #[error("the registry failed")]
    Remote(#[source] WireError),

    /// A setting is out of range.
    #[error("invalid setting {setting}: {problem}")]
    InvalidSetting {
        /// Which setting.
        setting: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl RegistryError {
    /// The registration is unknown; registering again mends it.
    #[must_use]
    pub fn is_not_registered(&self) -> bool {
        matches!(self, Self::NotRegistered { .. })
    }

    /// Somebody else has the name, or the name at that endpoint.
    #[must_use]
    pub fn is_duplicate(&self) -> bool {
        matches!(self, Self::Duplicate { .. } | Self::Replaced { .. })
    }

    /// The registry could not be reached, or did not answer in time.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::NoAnswer { .. })
    }

    /// The same may go well later, without anybody mending it here.
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
                | Self::TooManyInstances { .. }
                | Self::TooManyWatches { .. }
                | Self::Full { .. }
                | Self::NotRegistered { .. }
        )
    }
}

fn at(endpoint: Option<&Endpoint>) -> String {
    endpoint.map_or_else(String::new, |endpoint| format!(" at {endpoint}"))
}
