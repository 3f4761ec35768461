use std::sync::Arc;

use agentwire_codec::{Map, Value, map};
use agentwire_registry::{
    Event, Registration,
    backend::{FieldError, RegistrationExt},
};

use super::page::{Pages, read_page};

/// What one chunk of a watch says.
#[derive(Debug)]
pub(in crate::registry) enum Told {
    /// Part of a snapshot; the next chunk is the next part, if there are more.
    Part {
        registrations: Vec<Arc<Registration>>,
        resync: bool,
        more: bool,
    },
    Event(Event),
    /// That nothing has happened, or something that this version does not know.
    Nothing,
}

/// The names of events, as they stand in chunks.
const SNAPSHOT: &str = "snapshot";
const ALIVE: &str = "alive";

/// What is said when nothing has happened for a while, so that a silent connection is known to be dead.
pub(in crate::registry) fn alive() -> Map {
    map! {"event": ALIVE}
}

/// The contents of the chunks that tell of an event. A snapshot may need several: their lists have up to
/// `budget` bytes of JSON.
pub(in crate::registry) fn tell(event: Event, budget: usize) -> impl Iterator<Item = Map> + Send {
    let (mut single, mut snapshot) = (None, None);
    match event {
        Event::Snapshot {
            registrations,
            resync,
            ..
        } => snapshot = Some((Pages::new(registrations, budget), resync)),
        other => single = one(&other),
    }
    std::iter::from_fn(move || {
        let Some((mut pages, resync)) = snapshot.take() else {
            return single.take();
        };
        let (page, more) = pages.next_page();
        if more {
            snapshot = Some((pages, resync));
        }
        Some(map! {
            "event": SNAPSHOT,
            "registrations": page,
            "resync": resync,
            "more": more,
        })
    })
}

fn one(event: &Event) -> Option<Map> {
    let registration = event.registration()?;
    // What others could not read was not in the snapshot either.
    let registration = registration.is_portable().then(|| registration.to_map())?;
    Some(map! {"event": (event.name()), "registration": registration})
}

impl Told {
    /// Reads the content of a chunk.
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
                return Ok(Self::Part {
                    registrations,
                    resync,
                    more,
                });
            }
            Some("joined") => Event::Joined,
            Some("updated") => Event::Updated,
            Some("left") => Event::Left,
            Some("expired") => Event::Expired,
            Some(_) => return Ok(Self::Nothing),
            None => return Err(FieldError::new("event", "text")),
        };
        let Some(Value::Map(registration)) = content.get_mut("registration").map(std::mem::take)
        else {
            return Err(FieldError::new("registration", "an object"));
        };
        match Registration::from_map(registration) {
            Ok(registration) => Ok(Self::Event(make(Arc::new(registration)))),
            // It was left out of the snapshot, too.
            Err(error) if error.field() == "endpoint" => Ok(Self::Nothing),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use agentwire_transport::Endpoint;

    use super::*;

    fn agent(number: u16) -> Arc<Registration> {
        let endpoint = Endpoint::tcp("host", number).unwrap();
        Arc::new(Registration::new("weather", endpoint))
    }

    fn told(event: Event, budget: usize) -> Vec<Told> {
        tell(event, budget)
            .map(|content| Told::read(content.into()).unwrap())
            .collect()
    }

    #[test]
    fn an_event_is_one_chunk_and_comes_back_as_it_was() {
        let agent = agent(80);
        for make in [Event::Joined, Event::Updated, Event::Left, Event::Expired] {
            let event = make(Arc::clone(&agent));
            let kind = std::mem::discriminant(&event);
            let told = told(event, 0);
            let [Told::Event(read)] = &told[..] else {
                panic!("{told:?}");
            };
            assert_eq!(std::mem::discriminant(read), kind);
            assert!(read.registration().unwrap().is_same_offer(&agent));
        }
    }

    #[test]
    fn a_snapshot_is_as_many_chunks_as_it_needs() {
        let all: Vec<_> = (1..=5).map(agent).collect();
        for (count, budget, chunks) in [(0, 0, 1), (5, usize::MAX, 1), (5, 0, 5)] {
            let parts = told(Event::snapshot(all[..count].to_vec(), true), budget);
            assert_eq!(parts.len(), chunks);
            let mut found = Vec::new();
            for (number, part) in parts.into_iter().enumerate() {
                let Told::Part {
                    registrations,
                    resync: true,
                    more,
                } = part
                else {
                    panic!("{part:?}");
                };
                assert_eq!(more, number + 1 < chunks);
                found.extend(registrations);
            }
            assert_eq!(found.len(), count);
        }
    }

    #[test]
    fn what_this_version_does_not_know_is_nothing_and_nonsense_is_named() {
        for content in [alive(), map! {"event": "renamed", "to": 7}] {
            assert!(matches!(Told::read(content.into()).unwrap(), Told::Nothing));
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
            assert_eq!(Told::read(content).unwrap_err().field(), field);
        }
    }

    #[test]
    fn what_others_could_not_call_is_not_told() {
        let custom = Registration::new("weather", Endpoint::custom("a line"));
        assert!(told(Event::Joined(Arc::new(custom)), 0).is_empty());
    }
}
