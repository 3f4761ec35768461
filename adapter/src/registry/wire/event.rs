//! The wire format of watch events, which are sent as the chunks of a stream.

use std::sync::Arc;

use agentwire_codec::{Map, Value, map};
use agentwire_registry::{
    Event, Registration,
    backend::{FieldError, RegistrationExt},
};

use super::page::read_page;

/// A decoded chunk of a watch.
#[derive(Debug)]
pub(in crate::registry) enum WatchChunk {
    /// A part of a snapshot. If `more` is true, the next chunk contains another part.
    Snapshot {
        registrations: Vec<Arc<Registration>>,
        resync: bool,
        more: bool,
    },
    Event(Event),
    /// A chunk that is ignored. The chunk is a keep-alive, an event of an unknown kind, or an event
    /// about an agent that this process cannot call.
    Ignored,
}

/// Returns the content of a keep-alive chunk. The server sends keep-alive chunks on a watch without
/// events, so that clients can detect dead connections.
pub(in crate::registry) fn keep_alive() -> Map {
    map! {"event": ALIVE}
}

/// Encodes a part of a snapshot as the content of a chunk. `more` says whether parts follow.
pub(in crate::registry) fn snapshot_part(page: Value, resync: bool, more: bool) -> Map {
    map! {
        "event": SNAPSHOT,
        "registrations": page,
        "resync": resync,
        "more": more,
    }
}

/// Encodes an event other than a snapshot as the content of a chunk. Returns `None` if other
/// processes cannot call the agent.
pub(in crate::registry) fn encode_change(event: &Event) -> Option<Map> {
    let registration = event.registration()?;
    // Snapshots also omit agents that other processes cannot call.
    let registration = registration.is_portable().then(|| registration.to_map())?;
    Some(map! {"event": (event.name()), "registration": registration})
}

impl WatchChunk {
    /// Decodes the content of a chunk.
    pub(in crate::registry) fn read(content: Value) -> Result<Self, FieldError> {
        let Value::Map(mut content) = content else {
            return Err(FieldError::new("content", "an object"));
        };
        let flag = |field| match content.get(field) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(FieldError::new(field, "a bool")),
        };
        let make = match content.get("event").and_then(Value::as_str) {
            Some(SNAPSHOT) => {
                let (resync, more) = (flag("resync")?, flag("more")?);
                let (registrations, _) = read_page(&mut content)?;
                return Ok(Self::Snapshot {
                    registrations,
                    resync,
                    more,
                });
            }
            Some("joined") => Event::Joined,
            Some("updated") => Event::Updated,
            Some("left") => Event::Left,
            Some("expired") => Event::Expired,
            Some(_) => return Ok(Self::Ignored),
            None => return Err(FieldError::new("event", "text")),
        };
        let Some(Value::Map(registration)) = content.get_mut("registration").map(std::mem::take)
        else {
            return Err(FieldError::new("registration", "an object"));
        };
        match Registration::from_map(registration) {
            Ok(registration) => Ok(Self::Event(make(Arc::new(registration)))),
            // This process cannot call the endpoint, so the snapshot also omitted the registration.
            Err(error) if error.field() == "endpoint" => Ok(Self::Ignored),
            Err(error) => Err(error),
        }
    }
}

const SNAPSHOT: &str = "snapshot";
const ALIVE: &str = "alive";

#[cfg(test)]
mod tests {
    use agentwire_transport::Endpoint;

    use super::*;

    fn agent(number: u16) -> Arc<Registration> {
        let endpoint = Endpoint::tcp("host", number).unwrap();
        Arc::new(Registration::new("weather", endpoint))
    }

    #[test]
    fn an_event_survives_a_round_trip() {
        let agent = agent(80);
        for make in [Event::Joined, Event::Updated, Event::Left, Event::Expired] {
            let event = make(Arc::clone(&agent));
            let content = encode_change(&event).unwrap();
            let WatchChunk::Event(read) = WatchChunk::read(content.into()).unwrap() else {
                panic!("{event:?}");
            };
            assert_eq!(
                std::mem::discriminant(&read),
                std::mem::discriminant(&event)
            );
            assert!(read.registration().unwrap().is_same_offer(&agent));
        }
    }

    #[test]
    fn a_part_of_a_snapshot_survives_a_round_trip() {
        for (count, more) in [(0, false), (5, true)] {
            let all: Vec<Map> = (1..=count).map(|port| agent(port).to_map()).collect();
            let content = snapshot_part(all.into(), true, more);
            let part = WatchChunk::read(content.into()).unwrap();
            let WatchChunk::Snapshot {
                registrations,
                resync: true,
                more: read,
            } = part
            else {
                panic!("{part:?}");
            };
            assert_eq!((registrations.len(), read), (usize::from(count), more));
        }
    }

    #[test]
    fn unknown_events_are_ignored_and_invalid_fields_are_named() {
        for content in [keep_alive(), map! {"event": "renamed", "to": 7}] {
            assert!(matches!(
                WatchChunk::read(content.into()).unwrap(),
                WatchChunk::Ignored
            ));
        }
        for (content, field) in [
            (Value::Null, "content"),
            (Map::new().into(), "event"),
            (map! {"event": 7}.into(), "event"),
            (map! {"event": "joined"}.into(), "registration"),
            (map! {"event": "left", "registration": {}}.into(), "name"),
            (map! {"event": "snapshot"}.into(), "registrations"),
            (
                map! {"event": "snapshot", "registrations": [], "more": 1}.into(),
                "more",
            ),
        ] {
            assert_eq!(WatchChunk::read(content).unwrap_err().field(), field);
        }
    }

    #[test]
    fn agents_that_only_this_process_can_call_are_omitted() {
        let custom = Registration::new("weather", Endpoint::custom("a line"));
        assert!(encode_change(&Event::Joined(Arc::new(custom))).is_none());
    }
}
