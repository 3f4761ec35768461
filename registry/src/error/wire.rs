//! The wire format of registry errors (PROTOCOL 12).

use std::time::Duration;

use agentwire_codec::{ErrorCode, Map, Value, WireError, internal::repeatable_text};
use agentwire_transport::{Endpoint, internal::MAX_TIMEOUT};

use super::{LimitKind, QuotaKind, RegistrationProblem, RegistryError};

impl RegistryError {
    /// Returns the error code that represents this error on the wire ([PROTOCOL 12]).
    ///
    /// [PROTOCOL 12]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#12-registries
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::QuotaReached { of, .. } if of.is_of_watches() => ErrorCode::AGENT_UNAVAILABLE,
            Self::InvalidName { .. }
            | Self::QuotaReached { .. }
            | Self::InvalidRegistration { .. }
            | Self::TooManyInstances { .. }
            | Self::ReadOnly { .. }
            | Self::Full { .. } => ErrorCode::REGISTRATION_FAILED,
            Self::Duplicate { .. } | Self::Replaced { .. } | Self::Owned { .. } => {
                ErrorCode::DUPLICATE_AGENT
            }
            Self::NotRegistered { .. } => ErrorCode::AGENT_NOT_FOUND,
            Self::Ambiguous { .. } | Self::InvalidQuery { .. } => ErrorCode::INVALID_MESSAGE,
            Self::Unavailable { .. } | Self::NoAnswer { .. } | Self::TooManyWatches { .. } => {
                ErrorCode::AGENT_UNAVAILABLE
            }
            Self::Remote(error) => error.code.clone(),
            Self::InvalidAnswer { .. }
            | Self::AnswerTooLarge { .. }
            | Self::InvalidAddress { .. }
            | Self::InvalidSetting { .. }
            | Self::Refused { .. }
            | Self::Encode { .. }
            | Self::NotARegistry { .. } => ErrorCode::INTERNAL_ERROR,
        }
    }
}

/// Returns the form in which a registry server sends an error.
pub(crate) fn encode(error: &RegistryError) -> WireError {
    let at = |endpoint: &Endpoint| Some(("endpoint", Value::from(endpoint.to_string())));
    let limit = |max: usize| Some(("limit", Value::from(max)));
    let (reason, name, more) = match error {
        RegistryError::Remote(error) => return error.clone(),
        RegistryError::InvalidName { name, .. } => ("invalid_name", Some(name), None),
        RegistryError::InvalidRegistration { name, problem } => {
            let problem = ("problem", problem.to_string().into());
            ("invalid_registration", Some(name), Some(problem))
        }
        RegistryError::TooManyInstances { name, max } => {
            ("too_many_instances", Some(name), limit(*max))
        }
        RegistryError::ReadOnly { registry } => {
            let registry = ("registry", registry.as_str().into());
            ("read_only", None, Some(registry))
        }
        RegistryError::Full { max, .. } => ("full", None, limit(*max)),
        RegistryError::QuotaReached { max, .. } => ("quota", None, limit(*max)),
        RegistryError::TooManyWatches { max } => ("too_many_watches", None, limit(*max)),
        RegistryError::Duplicate { name, endpoint } => ("duplicate", Some(name), at(endpoint)),
        RegistryError::Replaced { name, endpoint } => ("replaced", Some(name), at(endpoint)),
        RegistryError::Owned { name, endpoint, .. } => ("owned", Some(name), at(endpoint)),
        RegistryError::NotRegistered { name, endpoint } => {
            ("not_registered", Some(name), endpoint.as_ref().and_then(at))
        }
        RegistryError::Ambiguous { name, instances } => {
            let instances = ("instances", (*instances).into());
            ("ambiguous", Some(name), Some(instances))
        }
        RegistryError::Unavailable { .. } | RegistryError::NoAnswer { .. } => {
            ("unavailable", None, None)
        }
        // Servers refuse malformed queries before evaluating them, so `InvalidQuery` needs no
        // reason of its own.
        RegistryError::InvalidAnswer { .. }
        | RegistryError::AnswerTooLarge { .. }
        | RegistryError::InvalidQuery { .. }
        | RegistryError::InvalidAddress { .. }
        | RegistryError::InvalidSetting { .. }
        | RegistryError::Refused { .. }
        | RegistryError::Encode { .. }
        | RegistryError::NotARegistry { .. } => ("internal", None, None),
    };
    let mut details = Map::from([(REASON, reason)]);
    details.extend(name.map(|name| ("agent_name", repeatable_text(name).into_owned())));
    details.extend(more);
    if let RegistryError::Full { of, .. } = error {
        details.insert("of", of.as_str());
    }
    if let RegistryError::QuotaReached { of, .. } = error {
        details.insert("of", of.as_str());
    }
    if let RegistryError::Owned { retry_after, .. } = error {
        details.insert("retry_seconds", retry_after.as_secs_f64());
    }
    WireError::new(error.code(), error.to_string()).with_details(details)
}

/// Converts an error that a registry server sent.
pub(crate) fn decode(error: WireError) -> RegistryError {
    decode_known(&error).unwrap_or(RegistryError::Remote(error))
}

/// Returns `None` if the error is unknown to this version.
fn decode_known(error: &WireError) -> Option<RegistryError> {
    let details = &error.details;
    let text = |key| details.get(key).and_then(Value::as_str).map(str::to_owned);
    let number = |key| details.get(key)?.as_u64()?.try_into().ok();
    let seconds = |key| {
        let seconds = match details.get(key)? {
            Value::Float(seconds) => *seconds,
            // The conversion is exact up to 2^53 seconds.
            other => other.as_u64()? as f64,
        };
        let duration = Duration::try_from_secs_f64(seconds).ok()?;
        Some(duration.min(MAX_TIMEOUT))
    };
    let endpoint = || text("endpoint")?.parse::<Endpoint>().ok();
    let name = || text("agent_name");
    Some(match details.get(REASON).and_then(Value::as_str) {
        Some("invalid_registration") => RegistryError::InvalidRegistration {
            name: name()?,
            problem: RegistrationProblem::Other {
                text: text("problem")?,
            },
        },
        Some("too_many_instances") => RegistryError::TooManyInstances {
            name: name()?,
            max: number("limit")?,
        },
        Some("read_only") => RegistryError::ReadOnly {
            registry: text("registry")?,
        },
        Some("full") => RegistryError::Full {
            max: number("limit")?,
            // Registries without a memory limit do not send the detail `of`.
            of: match details.get("of") {
                None => LimitKind::Registrations,
                Some(of) => LimitKind::parse(of.as_str()?)?,
            },
        },
        Some("quota") => RegistryError::QuotaReached {
            max: number("limit")?,
            of: QuotaKind::parse(details.get("of")?.as_str()?)?,
        },
        Some("too_many_watches") => RegistryError::TooManyWatches {
            max: number("limit")?,
        },
        Some("duplicate") => RegistryError::Duplicate {
            name: name()?,
            endpoint: endpoint()?,
        },
        Some("replaced") => RegistryError::Replaced {
            name: name()?,
            endpoint: endpoint()?,
        },
        Some("owned") => RegistryError::Owned {
            name: name()?,
            endpoint: endpoint()?,
            retry_after: seconds("retry_seconds").unwrap_or_default(),
        },
        Some("ambiguous") => RegistryError::Ambiguous {
            name: name()?,
            instances: number("instances")?,
        },
        // The code `AGENT_NOT_FOUND` is sufficient, because it always means that the agent must
        // register again.
        _ if error.code == ErrorCode::AGENT_NOT_FOUND => RegistryError::NotRegistered {
            name: name().unwrap_or_default(),
            endpoint: endpoint(),
        },
        _ => return None,
    })
}

/// The detail that identifies the error. The error code is not sufficient, because several errors
/// have the same code.
const REASON: &str = "reason";

#[cfg(test)]
mod tests {
    use agentwire_codec::map;

    use super::*;
    use crate::{NameProblem, backend::RegistryErrorExt};

    fn endpoint() -> Endpoint {
        "tcp://host:80".parse().unwrap()
    }

    #[test]
    fn errors_that_a_caller_can_handle_survive_the_wire() {
        let name = "weather".to_owned();
        for (error, code) in [
            (
                RegistryError::InvalidRegistration {
                    name: name.clone(),
                    problem: RegistrationProblem::PortZero,
                },
                "REGISTRATION_FAILED",
            ),
            (
                RegistryError::TooManyInstances {
                    name: name.clone(),
                    max: 7,
                },
                "REGISTRATION_FAILED",
            ),
            (
                RegistryError::Full {
                    max: 7,
                    of: LimitKind::Registrations,
                },
                "REGISTRATION_FAILED",
            ),
            (
                RegistryError::Full {
                    max: 7,
                    of: LimitKind::Bytes,
                },
                "REGISTRATION_FAILED",
            ),
            (
                RegistryError::TooManyWatches { max: 7 },
                "AGENT_UNAVAILABLE",
            ),
            (
                RegistryError::QuotaReached {
                    max: 7,
                    of: QuotaKind::RegistrationsPerPeer,
                },
                "REGISTRATION_FAILED",
            ),
            (
                RegistryError::QuotaReached {
                    max: 7,
                    of: QuotaKind::WatchesPerConnection,
                },
                "AGENT_UNAVAILABLE",
            ),
            (
                RegistryError::Duplicate {
                    name: name.clone(),
                    endpoint: endpoint(),
                },
                "DUPLICATE_AGENT",
            ),
            (
                RegistryError::Replaced {
                    name: name.clone(),
                    endpoint: endpoint(),
                },
                "DUPLICATE_AGENT",
            ),
            (
                RegistryError::Owned {
                    name: name.clone(),
                    endpoint: endpoint(),
                    retry_after: Duration::from_millis(1500),
                },
                "DUPLICATE_AGENT",
            ),
            (
                RegistryError::NotRegistered {
                    name: name.clone(),
                    endpoint: Some(endpoint()),
                },
                "AGENT_NOT_FOUND",
            ),
            (
                RegistryError::NotRegistered {
                    name: name.clone(),
                    endpoint: None,
                },
                "AGENT_NOT_FOUND",
            ),
            (
                RegistryError::Ambiguous { name, instances: 2 },
                "INVALID_MESSAGE",
            ),
        ] {
            let wire = error.to_wire_error();
            assert_eq!(wire.code.as_str(), code);
            let read = RegistryError::from_wire_error(wire);
            assert_eq!(read.to_string(), error.to_string());
            assert_eq!(
                std::mem::discriminant(&read),
                std::mem::discriminant(&error),
                "{error}"
            );
        }
    }

    #[test]
    fn a_foreign_error_is_kept_or_recognized_by_its_code() {
        let other = WireError::new("QUOTA", "no more today");
        let read = RegistryError::from_wire_error(other.clone());
        assert!(matches!(&read, RegistryError::Remote(kept) if *kept == other));
        assert_eq!(read.to_wire_error(), other);
        let unknown = WireError::new(ErrorCode::AGENT_NOT_FOUND, "who?");
        assert!(RegistryError::from_wire_error(unknown).is_not_registered());
    }

    #[test]
    fn malformed_details_are_tolerated() {
        for reason in [
            "too_many_instances",
            "full",
            "quota",
            "duplicate",
            "ambiguous",
        ] {
            let details = map! {"reason": reason, "agent_name": 7, "limit": (-1), "endpoint": []};
            let error = WireError::new("X", "text").with_details(details);
            assert!(matches!(
                RegistryError::from_wire_error(error),
                RegistryError::Remote(_)
            ));
        }
    }

    #[test]
    fn other_errors_keep_their_code_and_text() {
        let error = RegistryError::InvalidName {
            name: String::new(),
            problem: NameProblem::Empty,
        };
        let wire = error.to_wire_error();
        assert_eq!(wire.code, ErrorCode::REGISTRATION_FAILED);
        assert!(wire.message.contains("it is empty"), "{wire}");
    }
}
