use agentwire_codec::{ErrorCode, WireError};
use agentwire_registry::{
    RegistrationProblem, RegistryError,
    backend::{FieldError, RegistryErrorExt},
};
use agentwire_transport::Endpoint;

use crate::Error;

/// What a call of a registry failed with, as a registry's failure. `registering` is the name of the agent that it was to
/// register, if it was.
pub(super) fn failed(
    registry: &Endpoint,
    registering: Option<&str>,
    error: Error,
) -> RegistryError {
    if let Some(error) = error.remote() {
        return refused(registry, error.clone());
    }
    if error.is_encode() {
        // The frame limit, or what one of the formats does not have.
        return match registering {
            Some(name) => RegistryError::InvalidRegistration {
                name: name.to_owned(),
                problem: RegistrationProblem::Other {
                    text: with_sources(&error),
                },
            },
            None => RegistryError::Encode {
                source: error.into(),
            },
        };
    }
    let registry = registry.to_string();
    let protocol = error.is_protocol();
    let source = error.into();
    match protocol {
        true => RegistryError::InvalidAnswer { registry, source },
        false => RegistryError::Unavailable { registry, source },
    }
}

/// What the far side answered with.
pub(super) fn refused(registry: &Endpoint, error: WireError) -> RegistryError {
    match RegistryError::from_wire_error(error) {
        RegistryError::Remote(error) if is_ignorance(&error) => RegistryError::NotARegistry {
            registry: registry.to_string(),
            error: Box::new(error),
        },
        // Something behind the server, which may come back.
        RegistryError::Remote(error) if error.code == ErrorCode::AGENT_UNAVAILABLE => {
            RegistryError::Unavailable {
                registry: registry.to_string(),
                source: error.into(),
            }
        }
        other => other,
    }
}

pub(super) fn invalid(registry: &Endpoint, error: FieldError) -> RegistryError {
    RegistryError::InvalidAnswer {
        registry: registry.to_string(),
        source: error.into(),
    }
}

/// What servers of agents answer to an envelope or a method that they do not know (PROTOCOL 7.3).
fn is_ignorance(error: &WireError) -> bool {
    let names = |key| error.details.contains_key(key);
    error.code == ErrorCode::NOT_IMPLEMENTED
        || error.code == ErrorCode::INVALID_MESSAGE && (names("request") || names("method"))
}

fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text += &format!(": {error}");
        source = error.source();
    }
    text
}
