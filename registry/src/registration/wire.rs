//! The form in which registrations are sent and stored (PROTOCOL 12).

use agentwire_codec::{Map, Timestamp, Value};
use agentwire_transport::Endpoint;

use super::{LastHeartbeat, Registration};
use crate::error::FieldError;

pub(crate) fn to_map(registration: &Registration) -> Map {
    let mut map = Map::from([
        ("name", Value::from(&*registration.name)),
        ("endpoint", registration.endpoint.to_string().into()),
        ("instance", (&*registration.instance).into()),
    ]);
    if let Some(version) = &registration.version {
        map.insert("version", version.to_string());
    }
    if let Some(machine) = &registration.machine {
        map.insert("machine", &**machine);
    }
    map.insert("capabilities", registration.capabilities.clone());
    map.insert("metadata", registration.metadata.clone());
    map.insert("registered_at", registration.registered_at.to_string());
    map.insert("last_heartbeat", registration.last_heartbeat().to_string());
    map
}

pub(crate) fn from_map(mut map: Map) -> Result<Registration, FieldError> {
    let name = text(&map, "name")?.ok_or(FieldError::new("name", "text"))?;
    let endpoint = parsed(&map, "endpoint", "an endpoint")?
        .ok_or(FieldError::new("endpoint", "an endpoint"))?;
    let mut registration = Registration::new(name, endpoint);
    // Replace the random id of `new`. A registration without an id must always be decoded in the
    // same way.
    registration.instance = text(&map, "instance")?.unwrap_or_default();
    // Replace the machine of `new`, because the endpoint may be on another machine.
    registration.machine = text(&map, "machine")?;
    registration.version = parsed(&map, "version", "a semantic version")?;
    let time = |field| parsed::<Timestamp>(&map, field, "a timestamp");
    if let Some(at) = time("registered_at")? {
        registration.registered_at = at;
    }
    let last_heartbeat = time("last_heartbeat")?.unwrap_or(registration.registered_at);
    registration.last_heartbeat = LastHeartbeat::new(last_heartbeat);
    for (field, target) in [
        ("capabilities", &mut registration.capabilities),
        ("metadata", &mut registration.metadata),
    ] {
        match map.get_mut(field).map(std::mem::take) {
            Some(Value::Map(entries)) => *target = entries,
            None | Some(Value::Null) => {}
            Some(_) => return Err(FieldError::new(field, "an object")),
        }
    }
    Ok(registration)
}

/// Returns whether the text of the endpoint can be parsed as the same endpoint.
pub(crate) fn is_portable(registration: &Registration) -> bool {
    registration
        .endpoint
        .to_string()
        .parse::<Endpoint>()
        .is_ok_and(|endpoint| endpoint == registration.endpoint)
}

fn text(map: &Map, field: &'static str) -> Result<Option<String>, FieldError> {
    match map.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Text(text)) => Ok(Some(text.clone())),
        Some(_) => Err(FieldError::new(field, "text")),
    }
}

fn parsed<T: std::str::FromStr>(
    map: &Map,
    field: &'static str,
    expected: &'static str,
) -> Result<Option<T>, FieldError> {
    let text = text(map, field)?;
    text.map(|text| text.parse().map_err(|_| FieldError::new(field, expected)))
        .transpose()
}

#[cfg(test)]
mod tests {
    use agentwire_codec::map;

    use super::*;
    use crate::backend::RegistrationExt;

    #[test]
    fn a_registration_survives_the_round_trip() {
        let time: Timestamp = "2025-11-08T12:34:56.789012+00:00".parse().unwrap();
        let registration = Registration::new("weather", "tcp://host:80".parse().unwrap())
            .with_version("1.2.3-rc.1")
            .with_capabilities(map! {"tools": [{"name": "forecast"}]})
            .with_metadata("zone", "b")
            .with_registered_at(time);
        let text = Value::from(registration.to_map()).to_string();
        let map = text.parse::<Value>().unwrap().as_map().unwrap().clone();
        let read = Registration::from_map(map).unwrap();
        assert!(read.is_same_offer(&registration), "{text}");
        assert_eq!(read.registered_at, time);
        assert_eq!(read.last_heartbeat(), time);
        assert!(read.is_portable());
    }

    #[test]
    fn name_and_endpoint_suffice() {
        let map = map! {"name": "weather", "endpoint": "tcp://host:80", "metadata": null};
        let read = Registration::from_map(map.clone()).unwrap();
        assert_eq!((&*read.name, read.version.clone()), ("weather", None));
        assert!(read.is_same_offer(&Registration::from_map(map).unwrap()));
    }

    #[test]
    fn an_error_names_the_field() {
        let good = map! {"name": "weather", "endpoint": "tcp://host:80"};
        for (field, value) in [
            ("name", Value::Null),
            ("name", 7.into()),
            ("endpoint", "host:80".into()),
            ("instance", 7.into()),
            ("version", "one".into()),
            ("capabilities", "all".into()),
            ("metadata", Value::List(Vec::new())),
            ("registered_at", "yesterday".into()),
            ("last_heartbeat", 7.into()),
        ] {
            let mut map = good.clone();
            map.insert(field, value);
            let error = Registration::from_map(map).unwrap_err();
            assert!(error.to_string().starts_with(field), "{error}");
        }
    }

    #[test]
    fn a_custom_endpoint_is_not_portable() {
        assert!(!Registration::new("weather", Endpoint::custom("a line")).is_portable());
    }
}
