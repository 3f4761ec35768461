//! The wire format of registrations, instance references and leases.

use std::time::Duration;

use agentwire_codec::{Map, Register, Value, map};
use agentwire_registry::{
    InstanceRef, Lease, Registration, RegistrationProblem, RegistryError,
    backend::{FieldError, RegistrationExt},
};
use agentwire_transport::{Endpoint, internal::MAX_TIMEOUT};

/// Encodes a request that registers an agent.
///
/// # Errors
///
/// Returns [`RegistryError::InvalidRegistration`] if other processes cannot call the endpoint.
pub(in crate::registry) fn encode_registration(
    registration: &Registration,
) -> Result<Register, RegistryError> {
    if !registration.is_portable() {
        return Err(RegistryError::InvalidRegistration {
            name: registration.name.clone(),
            problem: RegistrationProblem::NotPortable,
        });
    }
    let endpoint = registration.endpoint.to_string();
    let mut register = Register::new(&*registration.name, endpoint);
    register.capabilities = registration.capabilities.clone();
    register.metadata = registration.metadata.clone();
    register.version = registration.version.as_ref().map(ToString::to_string);
    register.instance = present(Some(registration.instance.clone()));
    register.machine.clone_from(&registration.machine);
    register.owner = registration.owner().map(str::to_owned);
    Ok(register)
}

/// Decodes a request that registers an agent.
///
/// # Errors
///
/// Returns [`RegistryError::InvalidRegistration`] if the endpoint or the version is not valid.
pub(in crate::registry) fn read_registration(
    register: Register,
) -> Result<Registration, RegistryError> {
    let name = register.agent_name;
    let endpoint = read_endpoint(&name, &register.endpoint)?;
    let version = present(register.version).map(|text| {
        let version = text.parse();
        version.map_err(|error| invalid(&name, format!("invalid version: {error}")))
    });
    let mut registration = Registration::new(&*name, endpoint)
        .with_instance(register.instance.unwrap_or_default())
        .with_owner(register.owner.unwrap_or_default())
        .with_capabilities(register.capabilities);
    registration.version = version.transpose()?;
    registration.metadata = register.metadata;
    // Replace the machine that `Registration::new` has set, because the endpoint may be on another
    // machine.
    registration.machine = present(register.machine);
    Ok(registration)
}

/// Decodes the instance reference in a heartbeat or a request to unregister. Empty fields are
/// treated as absent.
///
/// # Errors
///
/// Returns [`RegistryError::InvalidRegistration`] if the endpoint is not valid.
pub(in crate::registry) fn read_ref(
    name: String,
    endpoint: Option<String>,
    instance: Option<String>,
    owner: Option<String>,
) -> Result<InstanceRef, RegistryError> {
    let endpoint = present(endpoint).map(|text| read_endpoint(&name, &text));
    let mut which = InstanceRef::new(name).with_owner(owner.unwrap_or_default());
    which.endpoint = endpoint.transpose()?;
    which.instance = present(instance);
    Ok(which)
}

/// Encodes the answer to a registration.
pub(in crate::registry) fn encode_lease(lease: Lease) -> Map {
    map! {
        "lease_seconds": (lease.timeout().as_secs_f64()),
        "heartbeat_seconds": (lease.heartbeat_interval().as_secs_f64()),
    }
}

/// Decodes the answer to a registration. Returns the default lease if the answer contains no lease.
pub(in crate::registry) fn read_lease(answer: &Map) -> Result<Lease, FieldError> {
    let seconds = match answer.get("lease_seconds") {
        None | Some(Value::Null) => return Ok(Lease::default()),
        Some(Value::Float(seconds)) => Some(*seconds),
        // The conversion is exact up to 2^53 seconds.
        Some(other) => other.as_u64().map(|seconds| seconds as f64),
    };
    let lease = seconds
        .filter(|seconds| *seconds > 0.0)
        .map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or(MAX_TIMEOUT))
        .ok_or(FieldError::new("lease_seconds", "a positive number"))?;
    Ok(Lease::new(
        lease.clamp(Duration::from_millis(1), MAX_TIMEOUT),
    ))
}

/// Returns a text field of a payload, or an empty string if the field is absent.
pub(in crate::registry) fn text(payload: &Map, field: &'static str) -> Result<String, FieldError> {
    match payload.get(field) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::Text(text)) => Ok(text.clone()),
        Some(_) => Err(FieldError::new(field, "text")),
    }
}

fn read_endpoint(name: &str, text: &str) -> Result<Endpoint, RegistryError> {
    text.parse()
        .map_err(|error: agentwire_transport::Error| invalid(name, error.to_string()))
}

fn invalid(name: &str, text: String) -> RegistryError {
    RegistryError::InvalidRegistration {
        name: name.to_owned(),
        problem: RegistrationProblem::Other { text },
    }
}

fn present(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registration_survives_a_round_trip() {
        let registration = Registration::new("weather", "tcp://host:80".parse().unwrap())
            .with_version("1.2.3")
            .with_capabilities(map! {"tools": ["forecast"]})
            .with_metadata("zone", "b");
        let read = read_registration(encode_registration(&registration).unwrap()).unwrap();
        assert!(read.is_same_offer(&registration));
    }

    #[test]
    fn four_keys_describe_the_same_registration_each_time() {
        let read = || read_registration(Register::new("weather", "tcp://host:80")).unwrap();
        assert!(read().is_same_offer(&read()));
    }

    #[test]
    fn an_invalid_endpoint_or_version_is_refused() {
        let mut bad_version = Register::new("weather", "tcp://host:80");
        bad_version.version = Some("one".to_owned());
        for register in [
            Register::new("weather", ""),
            Register::new("weather", "h3://host:80"),
            bad_version,
        ] {
            let error = read_registration(register).unwrap_err();
            assert!(error.to_string().contains("\"weather\""), "{error}");
        }
        let custom = Registration::new("weather", Endpoint::custom("a line"));
        assert!(encode_registration(&custom).is_err());
    }

    #[test]
    fn a_lease_survives_a_round_trip_and_invalid_leases_are_errors() {
        for millis in [1, 300, 90_000] {
            let given = Lease::new(Duration::from_millis(millis));
            assert_eq!(read_lease(&encode_lease(given)).unwrap(), given);
        }
        assert_eq!(read_lease(&Map::new()).unwrap(), Lease::default());
        let whole = read_lease(&map! {"lease_seconds": 15}).unwrap();
        assert_eq!(whole.timeout(), Duration::from_secs(15));
        let endless = read_lease(&map! {"lease_seconds": 1e300}).unwrap();
        assert_eq!(endless.timeout(), MAX_TIMEOUT);
        for nonsense in [Value::from(0), (-1).into(), f64::NAN.into(), "1".into()] {
            assert!(read_lease(&map! {"lease_seconds": nonsense}).is_err());
        }
    }
}
