//! Conversions from the errors of calls into [`RegistryError`].

use agentwire_codec::{ErrorCode, WireError};
use agentwire_registry::{
    RegistrationProblem, RegistryError,
    backend::{FieldError, RegistryErrorExt},
};
use agentwire_transport::Endpoint;

use crate::Error;

/// Converts the error of a call into a [`RegistryError`]. If the call registers an agent,
/// `registering` contains the name of the agent.
pub(super) fn from_call_error(
    registry: &Endpoint,
    registering: Option<&str>,
    error: Error,
) -> RegistryError {
    if let Some(error) = error.remote() {
        return from_wire_error(registry, error.clone());
    }
    if error.is_encode() {
        // The request exceeds the frame limit or contains a value that the format does not support.
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

/// Converts an error that the registry sent into a [`RegistryError`].
pub(super) fn from_wire_error(registry: &Endpoint, error: WireError) -> RegistryError {
    match RegistryError::from_wire_error(error) {
        RegistryError::Remote(error) if is_unknown_request(&error) => RegistryError::NotARegistry {
            registry: registry.to_string(),
            error: Box::new(error),
        },
        // The backend of the registry server is temporarily unavailable.
        RegistryError::Remote(error) if error.code == ErrorCode::AGENT_UNAVAILABLE => {
            RegistryError::Unavailable {
                registry: registry.to_string(),
                source: error.into(),
            }
        }
        other => other,
    }
}

/// Creates the error for an answer with an invalid field.
pub(super) fn invalid_answer(registry: &Endpoint, error: FieldError) -> RegistryError {
    RegistryError::InvalidAnswer {
        registry: registry.to_string(),
        source: error.into(),
    }
}

/// Returns whether the peer refused an unknown envelope type or method (PROTOCOL 7.3). A server of
/// agents refuses the requests of a registry client in this way.
fn is_unknown_request(error: &WireError) -> bool {
    let has_detail = |key| error.details.contains_key(key);
    error.code == ErrorCode::NOT_IMPLEMENTED
        || error.code == ErrorCode::INVALID_MESSAGE
            && (has_detail("request") || has_detail("method"))
}
