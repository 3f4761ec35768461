//! Checks that do not depend on other registrations.

use agentwire_codec::{Map, Value, json};

use super::{Registration, check_name, name::shortened, reach::check_endpoint};
use crate::{RegistrationProblem, RegistryError};

/// Checks a registration. `max_size` is the maximum total size of the capabilities and metadata, in
/// bytes of JSON.
pub(crate) fn check(registration: &Registration, max_size: usize) -> Result<(), RegistryError> {
    check_name(&registration.name)?;
    check_content(registration, max_size).map_err(|problem| RegistryError::InvalidRegistration {
        name: registration.name.clone(),
        problem,
    })
}

fn check_content(registration: &Registration, max_size: usize) -> Result<(), RegistrationProblem> {
    check_endpoint(&registration.endpoint)?;
    if let Some(text) = &registration.invalid_version {
        return Err(RegistrationProblem::InvalidVersion {
            text: shortened(text),
        });
    }
    let instance = &registration.instance;
    if instance.chars().any(char::is_control) {
        return Err(RegistrationProblem::Instance);
    }
    let machine = registration.machine.as_deref().unwrap_or_default();
    if machine.chars().any(char::is_control) {
        return Err(RegistrationProblem::Machine);
    }
    let endpoint_len = registration.endpoint.to_string().len();
    let owner_len = registration
        .owner
        .as_ref()
        .map_or(0, |key| key.as_str().len());
    let version = registration.version.as_ref();
    let version_len = version.map_or(0, |version| version.to_string().len());
    for (field, len, max) in [
        ("instance", instance.len(), MAX_INSTANCE_LEN),
        ("owner key", owner_len, MAX_OWNER_LEN),
        ("machine", machine.len(), MAX_MACHINE_LEN),
        ("endpoint", endpoint_len, MAX_ENDPOINT_LEN),
        ("version", version_len, MAX_VERSION_LEN),
    ] {
        if len > max {
            return Err(RegistrationProblem::TooLong { field, len, max });
        }
    }
    let size = json_len(&registration.capabilities)? + json_len(&registration.metadata)?;
    if size > max_size {
        let max = max_size;
        return Err(RegistrationProblem::TooLarge { size, max });
    }
    Ok(())
}

/// Returns the length of a map as JSON.
///
/// # Errors
///
/// Returns a [`RegistrationProblem`] if the map cannot be sent.
fn json_len(map: &Map) -> Result<usize, RegistrationProblem> {
    let mut len = "{}".len();
    let mut buffer = Vec::new();
    for (index, (key, value)) in map.iter().enumerate() {
        check_value(value, MAX_DEPTH - 1)?;
        // Encode the entries one at a time, so that the buffer never contains the whole map.
        buffer.clear();
        for part in [&Value::from(key), value] {
            json::write(part, &mut buffer).map_err(|_| RegistrationProblem::Unwritable)?;
        }
        len += buffer.len() + ": ".len() + if index > 0 { ", ".len() } else { 0 };
    }
    Ok(len)
}

/// Checks that a value can be encoded as JSON and MessagePack, and decoded by every implementation.
fn check_value(value: &Value, levels: usize) -> Result<(), RegistrationProblem> {
    let inner = || {
        let too_deep = RegistrationProblem::TooDeep { max: MAX_DEPTH };
        levels.checked_sub(1).ok_or(too_deep)
    };
    match value {
        Value::Bytes(_) => Err(RegistrationProblem::Unwritable),
        Value::Integer(integer) if integer.as_i64().is_none() && integer.as_u64().is_none() => {
            Err(RegistrationProblem::Unwritable)
        }
        Value::List(list) => {
            let inner = inner()?;
            list.iter().try_for_each(|value| check_value(value, inner))
        }
        Value::Map(map) => {
            let inner = inner()?;
            map.values().try_for_each(|value| check_value(value, inner))
        }
        _ => Ok(()),
    }
}

/// The maximum nesting of capabilities and metadata. Capabilities and metadata are sent inside
/// other structures, and readers accept 256 levels in total.
const MAX_DEPTH: usize = 64;

/// The maximum lengths of text fields, in bytes.
const MAX_INSTANCE_LEN: usize = 255;
const MAX_OWNER_LEN: usize = 255;
const MAX_MACHINE_LEN: usize = 255;
const MAX_VERSION_LEN: usize = 255;
const MAX_ENDPOINT_LEN: usize = 1024;

#[cfg(test)]
mod tests {
    use agentwire_codec::map;
    use agentwire_transport::Endpoint;

    use super::*;

    fn weather() -> Registration {
        Registration::new("weather", "memory://weather".parse().unwrap())
    }

    fn problem(registration: &Registration, max: usize) -> Option<RegistrationProblem> {
        match check(registration, max) {
            Err(RegistryError::InvalidRegistration { problem, .. }) => Some(problem),
            Ok(()) => None,
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn the_size_counts_both_maps_as_json_to_the_byte() {
        let metadata = map! {"zone": "b", "weights": [1, 2.5, null], "ü": {}};
        let mut registration = weather().with_capabilities(map! {"languages": ["en"]});
        registration.metadata = metadata.clone();
        let size = Value::from(metadata).to_string().len() + r#"{"languages": ["en"]}"#.len();
        assert_eq!(problem(&registration, size), None);
        let max = size - 1;
        let expected = RegistrationProblem::TooLarge { size, max };
        assert_eq!(problem(&registration, max), Some(expected));
    }

    #[test]
    fn values_that_nest_too_deeply_are_refused() {
        let nested = |levels: usize| {
            (1..levels).fold(Value::from(Map::new()), |inner, _| vec![inner].into())
        };
        // The metadata map counts as one level.
        let fits = weather().with_metadata("deep", nested(MAX_DEPTH - 1));
        assert_eq!(problem(&fits, 1024), None);
        let deep = weather().with_metadata("deep", nested(MAX_DEPTH));
        let expected = RegistrationProblem::TooDeep { max: MAX_DEPTH };
        assert_eq!(problem(&deep, 1024), Some(expected));
        // The check stops at the limit instead of recursing to the innermost value.
        let endless = weather().with_capabilities(map! {"deep": (nested(1000))});
        let expected = RegistrationProblem::TooDeep { max: MAX_DEPTH };
        assert_eq!(problem(&endless, 1024), Some(expected));
    }

    #[test]
    fn values_that_one_of_the_formats_lacks_are_refused() {
        let bytes = Value::Bytes(b"bytes".as_slice().into());
        for value in [bytes, (u128::MAX).into(), i128::MIN.into()] {
            let found = problem(&weather().with_metadata("key", vec![value]), 1024);
            assert_eq!(found, Some(RegistrationProblem::Unwritable));
        }
        for value in [Value::from(u64::MAX), i64::MIN.into(), f64::NAN.into()] {
            assert_eq!(problem(&weather().with_metadata("key", value), 1024), None);
        }
    }

    #[test]
    fn an_endpoint_that_cannot_be_called_is_refused() {
        let zero = Registration::new("weather", "tcp://host:0".parse().unwrap());
        assert_eq!(problem(&zero, 4), Some(RegistrationProblem::PortZero));
    }

    #[test]
    fn every_text_has_its_limit() {
        let found = problem(&weather().with_instance("a\n"), 4);
        assert_eq!(found, Some(RegistrationProblem::Instance));
        assert_eq!(problem(&weather().with_instance(""), 4), None);
        let long = "x".repeat(2000);
        let version = format!("1.0.0-{long}");
        let far = Registration::new("weather", Endpoint::memory(&*long).unwrap());
        for (registration, expected) in [
            (weather().with_instance(&*long), "instance"),
            (weather().with_version(version), "version"),
            (far, "endpoint"),
        ] {
            match problem(&registration, 4) {
                Some(RegistrationProblem::TooLong { field, .. }) => assert_eq!(field, expected),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn text_that_is_not_a_version_is_refused() {
        let invalid = weather().with_version("one");
        let found = problem(&invalid, 4);
        assert_eq!(found.unwrap().to_string(), "invalid version \"one\"");
        assert_eq!(problem(&invalid.with_version("1.0.0"), 4), None);
    }
}
