use agentwire_codec::{Map, Timestamp, Value};
use agentwire_transport::Endpoint;

use super::{LastHeartbeat, Registration};
use crate::FieldError;

impl Registration {
    /// As it stands on wires and in stores (PROTOCOL 12): `name`, `endpoint`, `instance`, `version` if there is
    /// one, `capabilities`, `metadata`, `registered_at`, `last_heartbeat`.
    #[must_use]
    pub fn to_map(&self) -> Map {
        let mut map = Map::from([
            ("name", Value::from(&*self.name)),
            ("endpoint", self.endpoint.to_string().into()),
            ("instance", (&*self.instance).into()),
        ]);
        if let Some(version) = &self.version {
            map.insert("version", version.to_string());
        }
        map.insert("capabilities", self.capabilities.clone());
        map.insert("metadata", self.metadata.clone());
        map.insert("registered_at", self.registered_at.to_string());
        map.insert("last_heartbeat", self.last_heartbeat().to_string());
        map
    }

    /// Reads what [`to_map`](Self::to_map) made, or somebody else. Keys that are not known are ignored.
    ///
    /// # Errors
    ///
    /// If `name` or `endpoint` is missing, or anything known is not what it should be. Limits are not checked
    /// here; a registry does.
    pub fn from_map(mut map: Map) -> Result<Self, FieldError> {
        let name = text(&map, "name")?.ok_or(FieldError::new("name", "text"))?;
        let endpoint = parsed(&map, "endpoint", "an endpoint")?
            .ok_or(FieldError::new("endpoint", "an endpoint"))?;
        let mut registration = Self::new(name, endpoint);
        // Without one, the same agent must read as the same each time.
        registration.instance = text(&map, "instance")?.unwrap_or_default();
        registration.version = parsed(&map, "version", "a semantic version")?;
        let time = |field| parsed::<Timestamp>(&map, field, "a timestamp");
        if let Some(at) = time("registered_at")? {
            registration.registered_at = at;
        }
        let seen = time("last_heartbeat")?.unwrap_or(registration.registered_at);
        registration.last_heartbeat = LastHeartbeat::new(seen);
        for (field, place) in [
            ("capabilities", &mut registration.capabilities),
            ("metadata", &mut registration.metadata),
        ] {
            match map.get_mut(field).map(std::mem::take) {
                Some(Value::Map(entries)) => *place = entries,
                None | Some(Value::Null) => {}
                Some(_) => return Err(FieldError::new(field, "an object")),
            }
        }
        Ok(registration)
    }

    /// True if its endpoint can be written down for others, and is the same when they read it.
    ///
    /// A path that is not UTF-8 and a custom endpoint cannot.
    #[must_use]
    pub fn is_portable(&self) -> bool {
        self.endpoint
            .to_string()
            .parse::<Endpoint>()
            .is_ok_and(|endpoint| endpoint == self.endpoint)
    }
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

    #[test]
    fn it_comes_back_as_it_was() {
        let time: Timestamp = "2025-11-08T12:34:56.789012+00:00".parse().unwrap();
        let registration = Registration::new("weather", "tcp://host:80".parse().unwrap())
            .with_version("1.2.3-rc.1".parse().unwrap())
            .with_capabilities(map! {"tools": [{"name": "forecast"}]})
            .with_metadata("zone", "b")
            .registered(time);
        let text = Value::from(registration.to_map()).to_string();
        let map = text.parse::<Value>().unwrap().as_map().unwrap().clone();
        let read = Registration::from_map(map).unwrap();
        assert!(read.is_same_offer(&registration), "{text}");
        assert_eq!(read.registered_at, time);
        assert_eq!(read.last_heartbeat(), time);
        assert!(read.is_portable());
    }

    #[test]
    fn name_and_endpoint_are_enough() {
        let map = map! {"name": "weather", "endpoint": "tcp://host:80", "metadata": null};
        let read = Registration::from_map(map.clone()).unwrap();
        assert_eq!((&*read.name, read.version.clone()), ("weather", None));
        assert!(read.is_same_offer(&Registration::from_map(map).unwrap()));
    }

    #[test]
    fn what_is_wrong_is_named() {
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
    fn an_endpoint_that_cannot_be_written_is_not_portable() {
        assert!(!Registration::new("weather", Endpoint::custom("a line")).is_portable());
    }
}
