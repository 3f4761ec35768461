use super::{entry, position::Position};
use crate::Event;

/// Something that happened, as it is published.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) position: Position,
    /// `None` if it cannot be said: an entry that is gone, or something of a later version. Whoever hears of it
    /// starts over.
    pub(super) event: Option<Event>,
}

impl Change {
    /// Reads what a script told: epoch, revision, kind, when it registered, when it was last heard of, and what it
    /// offers, a line each. `None` if nobody knows what it is.
    pub(super) fn read(message: &[u8]) -> Option<Self> {
        let mut lines = message.splitn(6, |byte| *byte == b'\n');
        let mut line = || lines.next();
        let position = Position::read(line()?, line()?)?;
        let kind = line()?;
        let (registered, heard, offer) = (line()?, line()?, line()?);
        let event = match kind {
            b"joined" => Some(Event::Joined as fn(_) -> _),
            b"updated" => Some(Event::Updated as fn(_) -> _),
            b"left" => Some(Event::Left as fn(_) -> _),
            b"expired" => Some(Event::Expired as fn(_) -> _),
            _ => None,
        };
        let registration = entry::read(offer, registered, heard);
        Some(Self {
            position,
            event: event
                .zip(registration)
                .map(|(event, registration)| event(registration)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = r#"{"name": "weather", "endpoint": "tcp://host:80"}"#;

    fn read(head: &str) -> Option<Change> {
        Change::read(format!("{head}\n{OFFER}").as_bytes())
    }

    #[test]
    fn each_kind_is_its_event() {
        for (kind, expected) in [
            ("joined", "Joined"),
            ("updated", "Updated"),
            ("left", "Left"),
            ("expired", "Expired"),
        ] {
            let change = read(&format!("epoch\n7\n{kind}\n1\n2")).unwrap();
            assert_eq!(change.position.revision, 7);
            let event = change.event.unwrap();
            assert!(format!("{event:?}").starts_with(expected), "{event:?}");
            assert_eq!(event.registration().unwrap().name, "weather");
        }
    }

    #[test]
    fn what_cannot_be_said_still_has_its_place() {
        let gone = Change::read(b"epoch\n7\nexpired\n\n\n").unwrap();
        assert!(gone.event.is_none() && gone.position.revision == 7);
        assert!(read("epoch\n7\nmoved\n1\n2").unwrap().event.is_none());
        assert!(read("epoch\n7\njoined\nx\n2").unwrap().event.is_none());
    }

    #[test]
    fn what_has_no_place_is_none() {
        for message in [
            &b""[..],
            b"\n\n\n\n\n",
            b"epoch\n7",
            b"epoch\nx\njoined\n1\n2\n{}",
        ] {
            assert!(Change::read(message).is_none());
        }
    }
}
