//! Positions in the sequence of changes: [`Position`].

use std::{cmp::Ordering, sync::Arc};

/// A position in the sequence of changes.
///
/// Each change increments the revision. If Redis loses its data, the revisions start again with a
/// new epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) epoch: Arc<str>,
    pub(super) revision: u64,
}

/// The relation of a change to the current position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sequence {
    /// The change has already been applied.
    Old,
    /// The change is the next one.
    Next,
    /// At least one change has been missed.
    Gap,
}

impl Position {
    pub(super) fn parse(epoch: &[u8], revision: &[u8]) -> Option<Self> {
        Some(Self {
            epoch: std::str::from_utf8(epoch).ok()?.into(),
            revision: std::str::from_utf8(revision).ok()?.parse().ok()?,
        })
    }

    /// Advances to `change` if it is the position of the next change.
    pub(super) fn advance(&mut self, change: &Self) -> Sequence {
        if change.epoch != self.epoch {
            return Sequence::Gap;
        }
        match change.revision.cmp(&self.revision.saturating_add(1)) {
            Ordering::Less => Sequence::Old,
            Ordering::Greater => Sequence::Gap,
            Ordering::Equal => {
                self.revision = change.revision;
                Sequence::Next
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(epoch: &str, revision: u64) -> Position {
        Position::parse(epoch.as_bytes(), revision.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn only_the_next_change_advances_the_position() {
        let mut position = at("a", 7);
        for (change, sequence, revision) in [
            (at("a", 7), Sequence::Old, 7),
            (at("a", 0), Sequence::Old, 7),
            (at("a", 8), Sequence::Next, 8),
            (at("a", 8), Sequence::Old, 8),
            (at("a", 10), Sequence::Gap, 8),
            (at("b", 9), Sequence::Gap, 8),
            (at("b", 1), Sequence::Gap, 8),
            (at("a", u64::MAX), Sequence::Gap, 8),
        ] {
            assert_eq!(position.advance(&change), sequence, "{change:?}");
            assert_eq!(position.revision, revision);
        }
    }

    #[test]
    fn malformed_positions_are_not_parsed() {
        for (epoch, revision) in [(&b"\xff"[..], &b"1"[..]), (b"a", b""), (b"a", b"-1")] {
            assert_eq!(Position::parse(epoch, revision), None);
        }
    }
}
