//! The format of entries in Redis.

use std::{
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use agentwire_codec::{Timestamp, Value, json};

use super::id::id_of;
use crate::{
    Registration, RegistrationProblem, RegistryError, backend::RegistrationExt, check_name,
};

/// Encodes the field `offer`, which contains the registration as JSON, without its times. Redis
/// sets the times, so they are stored in separate fields.
///
/// # Errors
///
/// Returns [`RegistryError::InvalidRegistration`] if the registration cannot be encoded. A
/// registration that has been checked can always be encoded.
pub(super) fn encode(registration: &Registration) -> Result<Vec<u8>, RegistryError> {
    let mut map = registration.to_map();
    for time in ["registered_at", "last_heartbeat"] {
        map.remove(time);
    }
    let mut offer = Vec::new();
    match json::write(&map.into(), &mut offer) {
        Ok(()) => Ok(offer),
        Err(_) => Err(RegistryError::InvalidRegistration {
            name: registration.name.clone(),
            problem: RegistrationProblem::Unwritable,
        }),
    }
}

/// Decodes an entry. Returns `None` if the entry is malformed, because other clients of Redis can
/// write arbitrary entries.
pub(super) fn decode(
    offer: &[u8],
    registered: &[u8],
    last_heartbeat: &[u8],
) -> Option<Arc<Registration>> {
    let Value::Map(map) = json::from_slice(offer).ok()? else {
        return None;
    };
    let registration = Registration::from_map(map)
        .ok()?
        .with_registered_at(time(registered)?);
    registration.record_heartbeat(time(last_heartbeat)?);
    check_name(&registration.name).ok()?;
    Some(Arc::new(registration))
}

/// Decodes an entry, and checks that the entry is stored under the correct id.
pub(super) fn decode_with_id(
    id: &[u8],
    offer: &[u8],
    registered: &[u8],
    last_heartbeat: &[u8],
) -> Option<Arc<Registration>> {
    decode(offer, registered, last_heartbeat)
        .filter(|registration| id_of(registration).as_bytes() == id)
}

/// Parses microseconds since 1970.
fn time(micros: &[u8]) -> Option<Timestamp> {
    let micros: u64 = std::str::from_utf8(micros).ok()?.parse().ok()?;
    let time = UNIX_EPOCH.checked_add(Duration::from_micros(micros))?;
    Some(Timestamp::from_system_time(time))
}

#[cfg(test)]
mod tests {
    use agentwire_codec::map;

    use super::*;

    fn weather() -> Registration {
        Registration::new("weather", "tcp://host:80".parse().unwrap())
            .with_version("1.2.3")
            .with_capabilities(map! {"tools": [{"name": "forecast"}], "größe": 1.5})
            .with_metadata("zone", "b\n\0")
    }

    #[test]
    fn an_entry_survives_the_round_trip_with_the_times_of_redis() {
        let offer = encode(&weather()).unwrap();
        assert!(
            !offer.contains(&b'\n'),
            "a published change is a list of lines"
        );
        let registration = weather();
        let offer = encode(&registration).unwrap_or(offer);
        let id = id_of(&registration);
        let read = decode_with_id(
            id.as_bytes(),
            &offer,
            b"1700000000000001",
            b"1700000001000000",
        );
        let read = read.unwrap();
        assert!(read.is_same_offer(&registration));
        assert_eq!(
            read.registered_at.to_string(),
            "2023-11-14T22:13:20.000001+00:00"
        );
        assert_eq!(
            read.last_heartbeat().to_string(),
            "2023-11-14T22:13:21+00:00"
        );
    }

    #[test]
    fn equal_offers_encode_to_equal_bytes_whatever_their_times() {
        let later = "2030-01-01T00:00:00+00:00".parse().unwrap();
        let registration = weather();
        let again = registration.clone().with_registered_at(later);
        assert_eq!(encode(&registration).unwrap(), encode(&again).unwrap());
    }

    #[test]
    fn malformed_entries_are_not_decoded() {
        let offer = encode(&weather()).unwrap();
        let nested = "[".repeat(100_000);
        for (id, offer, registered, last_heartbeat) in [
            (&b"weather\ntcp://host:81"[..], &offer[..], "1", "1"),
            (b"", &offer, "1", "1"),
            (b"weather\ntcp://host:80", b"", "1", "1"),
            (b"weather\ntcp://host:80", b"{}", "1", "1"),
            (b"weather\ntcp://host:80", b"[1]", "1", "1"),
            (b"weather\ntcp://host:80", b"\xff", "1", "1"),
            (b"weather\ntcp://host:80", nested.as_bytes(), "1", "1"),
            (b"weather\ntcp://host:80", &offer, "", "1"),
            (b"weather\ntcp://host:80", &offer, "1", "-1"),
            (b"weather\ntcp://host:80", &offer, "1e9", "1"),
            (
                b"\ntcp://host:80",
                br#"{"name": "", "endpoint": "tcp://host:80"}"#,
                "1",
                "1",
            ),
        ] {
            let read = decode_with_id(id, offer, registered.as_bytes(), last_heartbeat.as_bytes());
            assert!(read.is_none(), "{read:?}");
        }
        for extreme in ["0", "18446744073709551615"] {
            let extreme = extreme.as_bytes();
            let read = decode_with_id(b"weather\ntcp://host:80", &offer, extreme, extreme);
            assert_eq!(read.unwrap().name, "weather");
        }
    }
}
