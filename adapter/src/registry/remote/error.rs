//! What calls of a registry fail with.

use agentwire_codec::{ErrorCode, WireError};
use agentwire_registry::{
    RegistrationProblem, RegistryError,
    backend::{FieldError, RegistryErrorExt},
};
use agentwire_transport::Endpoint;

use crate::Error;

/// Converts the error of a call into that of a registry. `registering` is the name of the agent, if
/// the call was to register one.
pub(super) fn from_call_error(
    registry: &Endpoint,
    registering: Option<&str>,
    error: Error,
) -> RegistryError {
    if let Some(error) = error.remote() {
        return from_wire_error(registry, error.clone());
    }
    if error.is_encode() {
        // Over the frame limit, or a value that the format does not support.
        return match registering {
            Some(name) => RegistryError::InvalidRegistration {
                name: name.to_owned(),
                problem: RegistrationProblem::Other {
                    text: format!("{error:#}"),
                },
            },
            None => RegistryError::Encode {
                source: error.into(),
            },
        };
    }
    let registry = registry.to_string();
    let is_protocol = error.is_protocol();
    let source = error.into();
    if is_protocol {
        RegistryError::InvalidAnswer { registry, source }
    } else {
        RegistryError::Unavailable { registry, source }
    }
}

/// Converts an error answer of the registry.
pub(super) fn from_wire_error(registry: &Endpoint, error: WireError) -> RegistryError {
    match RegistryError::from_wire_error(error) {
        RegistryError::Remote(error) if is_unknown_request(&error) => RegistryError::NotARegistry {
            registry: registry.to_string(),
            error: Box::new(error),
        },
        // The backend of the server is unavailable, and may recover.
        RegistryError::Remote(error) if error.code == ErrorCode::AGENT_UNAVAILABLE => {
            RegistryError::Unavailable {
                registry: registry.to_string(),
                source: error.into(),
            }
        }
        other => other,
    }
}

/// The error of an answer with an invalid field.
pub(super) fn invalid_answer(registry: &Endpoint, error: FieldError) -> RegistryError {
    RegistryError::InvalidAnswer {
        registry: registry.to_string(),
        source: error.into(),
    }
}

/// Whether the peer rejected an envelope or a method that it does not know, as a server of agents
/// does (PROTOCOL 7.3).
fn is_unknown_request(error: &WireError) -> bool {
    let has_detail = |key| error.details.contains_key(key);
    error.code == ErrorCode::NOT_IMPLEMENTED
        || error.code == ErrorCode::INVALID_MESSAGE
            && (has_detail("request") || has_detail("method"))
}
