use agentwire_codec::{ErrorCode, Map, Value, WireError};
use agentwire_transport::Endpoint;

use super::{LimitKind, RegistrationProblem, RegistryError};

/// Under which key the details say which error it was: several have one code.
const REASON: &str = "reason";

impl RegistryError {
    /// The code for this error (PROTOCOL 12).
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::InvalidName { .. }
            | Self::InvalidRegistration { .. }
            | Self::TooManyInstances { .. }
            | Self::Full { .. } => ErrorCode::REGISTRATION_FAILED,
            Self::Duplicate { .. } | Self::Replaced { .. } => ErrorCode::DUPLICATE_AGENT,
            Self::NotRegistered { .. } => ErrorCode::AGENT_NOT_FOUND,
            Self::Ambiguous { .. } => ErrorCode::INVALID_MESSAGE,
            Self::Unavailable { .. } | Self::NoAnswer { .. } | Self::TooManyWatches { .. } => {
                ErrorCode::AGENT_UNAVAILABLE
            }
            Self::Remote(error) => error.code.clone(),
            Self::InvalidAnswer { .. }
            | Self::InvalidSetting { .. }
            | Self::Refused { .. }
            | Self::Encode { .. }
            | Self::NotARegistry { .. } => ErrorCode::INTERNAL_ERROR,
        }
    }

    /// What a server answers (PROTOCOL 12).
    #[must_use]
    pub fn to_wire_error(&self) -> WireError {
        let at = |endpoint: &Endpoint| Some(("endpoint", Value::from(endpoint.to_string())));
        let limit = |max: usize| Some(("limit", Value::from(max)));
        let (reason, name, more) = match self {
            Self::Remote(error) => return error.clone(),
            Self::InvalidName { name, .. } => ("invalid_name", Some(name), None),
            Self::InvalidRegistration { name, problem } => {
                let problem = ("problem", problem.to_string().into());
                ("invalid_registration", Some(name), Some(problem))
            }
            Self::TooManyInstances { name, max } => ("too_many_instances", Some(name), limit(*max)),
            Self::Full { max, .. } => ("full", None, limit(*max)),
            Self::TooManyWatches { max } => ("too_many_watches", None, limit(*max)),
            Self::Duplicate { name, endpoint } => ("duplicate", Some(name), at(endpoint)),
            Self::Replaced { name, endpoint } => ("replaced", Some(name), at(endpoint)),
            Self::NotRegistered { name, endpoint } => {
                ("not_registered", Some(name), endpoint.as_ref().and_then(at))
            }
            Self::Ambiguous { name, instances } => {
                let instances = ("instances", (*instances).into());
                ("ambiguous", Some(name), Some(instances))
            }
            Self::Unavailable { .. } | Self::NoAnswer { .. } => ("unavailable", None, None),
            Self::InvalidAnswer { .. }
            | Self::InvalidSetting { .. }
            | Self::Refused { .. }
            | Self::Encode { .. }
            | Self::NotARegistry { .. } => ("internal", None, None),
        };
        let mut details = Map::from([(REASON, reason)]);
        details.extend(name.map(|name| ("agent_name", &**name)));
        details.extend(more);
        if let Self::Full { of, .. } = self {
            details.insert("of", of.as_str());
        }
        WireError::new(self.code(), self.to_string()).with_details(details)
    }

    /// Reads what a server answered. An error that this version does not know is kept as it came.
    #[must_use]
    pub fn from_wire_error(error: WireError) -> Self {
        known(&error).unwrap_or(Self::Remote(error))
    }
}

fn known(error: &WireError) -> Option<RegistryError> {
    let details = &error.details;
    let text = |key| details.get(key).and_then(Value::as_str).map(str::to_owned);
    let number = |key| details.get(key)?.as_u64()?.try_into().ok();
    let endpoint = || text("endpoint")?.parse::<Endpoint>().ok();
    let name = || text("agent_name");
    Some(match details.get(REASON).and_then(Value::as_str) {
        Some("invalid_registration") => RegistryError::InvalidRegistration {
            name: name()?,
            problem: RegistrationProblem::Told {
                text: text("problem")?,
            },
        },
        Some("too_many_instances") => RegistryError::TooManyInstances {
            name: name()?,
            max: number("limit")?,
        },
        Some("full") => RegistryError::Full {
            max: number("limit")?,
            // Others say nothing.
            of: match details.get("of") {
                None => LimitKind::Registrations,
                Some(of) => LimitKind::read(of.as_str()?)?,
            },
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
        Some("ambiguous") => RegistryError::Ambiguous {
            name: name()?,
            instances: number("instances")?,
        },
        // Whoever wrote the registry, this code has one meaning, and what to do about it matters.
        _ if error.code == ErrorCode::AGENT_NOT_FOUND => RegistryError::NotRegistered {
            name: name().unwrap_or_default(),
            endpoint: endpoint(),
        },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use agentwire_codec::map;

    use super::*;
    use crate::NameProblem;

    fn endpoint() -> Endpoint {
        "tcp://host:80".parse().unwrap()
    }

    #[test]
    fn what_a_caller_may_act_on_survives_the_wire() {
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
    fn an_error_of_another_registry_is_kept_or_understood_by_its_code() {
        let other = WireError::new("QUOTA", "no more today");
        let read = RegistryError::from_wire_error(other.clone());
        assert!(matches!(&read, RegistryError::Remote(kept) if *kept == other));
        assert_eq!(read.to_wire_error(), other);
        let unknown = WireError::new(ErrorCode::AGENT_NOT_FOUND, "who?");
        assert!(RegistryError::from_wire_error(unknown).is_not_registered());
    }

    #[test]
    fn details_that_make_no_sense_do_no_harm() {
        for reason in ["too_many_instances", "full", "duplicate", "ambiguous"] {
            let details = map! {"reason": reason, "agent_name": 7, "limit": (-1), "endpoint": []};
            let error = WireError::new("X", "text").with_details(details);
            assert!(matches!(
                RegistryError::from_wire_error(error),
                RegistryError::Remote(_)
            ));
        }
    }

    #[test]
    fn an_error_without_a_form_of_its_own_keeps_code_and_text() {
        let error = RegistryError::InvalidName {
            name: String::new(),
            problem: NameProblem::Empty,
        };
        let wire = error.to_wire_error();
        assert_eq!(wire.code, ErrorCode::REGISTRATION_FAILED);
        assert!(wire.message.contains("it is empty"), "{wire}");
    }
}
