use std::{
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use agentwire_codec::{Timestamp, Value, json};

use super::id::id_of;
use crate::{
    Registration, RegistrationProblem, RegistryError, backend::RegistrationExt, check_name,
};

/// What stands under `offer`: all that an agent says of itself, as JSON. The times stand beside it, for they are
/// those of Redis.
///
/// # Errors
///
/// [`RegistryError::InvalidRegistration`], of what a check should have refused.
pub(super) fn write(registration: &Registration) -> Result<Vec<u8>, RegistryError> {
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

/// Reads an entry; `None` if it is none. Whoever has the password can write anything there.
pub(super) fn read(offer: &[u8], registered: &[u8], heard: &[u8]) -> Option<Arc<Registration>> {
    let Value::Map(map) = json::from_slice(offer).ok()? else {
        return None;
    };
    let registration = Registration::from_map(map)
        .ok()?
        .with_registered_at(time(registered)?);
    registration.record_heartbeat(time(heard)?);
    check_name(&registration.name).ok()?;
    Some(Arc::new(registration))
}

/// The same, of the entry with that id.
pub(super) fn read_as(
    id: &[u8],
    offer: &[u8],
    registered: &[u8],
    heard: &[u8],
) -> Option<Arc<Registration>> {
    read(offer, registered, heard).filter(|registration| id_of(registration).as_bytes() == id)
}

/// Microseconds since 1970.
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
    fn an_entry_comes_back_with_the_times_of_redis() {
        let offer = write(&weather()).unwrap();
        assert!(!offer.contains(&b'\n'), "a change is told in lines");
        let registration = weather();
        let offer = write(&registration).unwrap_or(offer);
        let id = id_of(&registration);
        let read = read_as(
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
    fn the_same_offer_is_the_same_bytes_whenever_it_registers() {
        let later = "2030-01-01T00:00:00+00:00".parse().unwrap();
        let registration = weather();
        let again = registration.clone().with_registered_at(later);
        assert_eq!(write(&registration).unwrap(), write(&again).unwrap());
    }

    #[test]
    fn what_is_no_entry_is_none() {
        let offer = write(&weather()).unwrap();
        let nested = "[".repeat(100_000);
        for (id, offer, registered, heard) in [
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
            let read = read_as(id, offer, registered.as_bytes(), heard.as_bytes());
            assert!(read.is_none(), "{read:?}");
        }
        for extreme in ["0", "18446744073709551615"] {
            let extreme = extreme.as_bytes();
            let read = read_as(b"weather\ntcp://host:80", &offer, extreme, extreme);
            assert_eq!(read.unwrap().name, "weather");
        }
    }
}
