//! Published changes: [`Change`].

use super::{entry, position::Position};
use crate::Event;

/// A change to the registry that a script has published.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) position: Position,
    /// The event, or `None` if the change cannot be decoded. The entry may no longer exist, or a
    /// later version may have published the change. A watch that receives such a change resyncs.
    pub(super) event: Option<Event>,
}

impl Change {
    /// Decodes a published message. The lines of a message contain the epoch, the revision, the
    /// kind, the time of the registration, the time of the last heartbeat, and the offer. Returns
    /// `None` if the message is not a change.
    pub(super) fn decode(message: &[u8]) -> Option<Self> {
        let mut lines = message.splitn(6, |byte| *byte == b'\n');
        let mut line = || lines.next();
        let position = Position::parse(line()?, line()?)?;
        let kind = line()?;
        let (registered, last_heartbeat, offer) = (line()?, line()?, line()?);
        let event = match kind {
            b"joined" => Some(Event::Joined as fn(_) -> _),
            b"updated" => Some(Event::Updated as fn(_) -> _),
            b"left" => Some(Event::Left as fn(_) -> _),
            b"expired" => Some(Event::Expired as fn(_) -> _),
            _ => None,
        };
        let registration = entry::decode(offer, registered, last_heartbeat);
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

    fn decode(head: &str) -> Option<Change> {
        Change::decode(format!("{head}\n{OFFER}").as_bytes())
    }

    #[test]
    fn every_kind_decodes_to_its_event() {
        for (kind, expected) in [
            ("joined", "Joined"),
            ("updated", "Updated"),
            ("left", "Left"),
            ("expired", "Expired"),
        ] {
            let change = decode(&format!("epoch\n7\n{kind}\n1\n2")).unwrap();
            assert_eq!(change.position.revision, 7);
            let event = change.event.unwrap();
            assert!(format!("{event:?}").starts_with(expected), "{event:?}");
            assert_eq!(event.registration().unwrap().name, "weather");
        }
    }

    #[test]
    fn an_unreadable_change_keeps_its_position() {
        let gone = Change::decode(b"epoch\n7\nexpired\n\n\n").unwrap();
        assert!(gone.event.is_none() && gone.position.revision == 7);
        assert!(decode("epoch\n7\nmoved\n1\n2").unwrap().event.is_none());
        assert!(decode("epoch\n7\njoined\nx\n2").unwrap().event.is_none());
    }

    #[test]
    fn a_message_without_a_position_is_not_a_change() {
        for message in [
            &b""[..],
            b"\n\n\n\n\n",
            b"epoch\n7",
            b"epoch\nx\njoined\n1\n2\n{}",
        ] {
            assert!(Change::decode(message).is_none());
        }
    }
}
