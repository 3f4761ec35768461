use std::{cmp::Ordering, sync::Arc};

/// Where a reader stands in what happens.
///
/// Every change has the next revision. A Redis that was emptied begins again, with another epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) epoch: Arc<str>,
    pub(super) revision: u64,
}

/// How a change fits to where a reader stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It is known already.
    Old,
    /// It is the next one.
    Next,
    /// Something is missing before it.
    Gap,
}

impl Position {
    pub(super) fn read(epoch: &[u8], revision: &[u8]) -> Option<Self> {
        Some(Self {
            epoch: std::str::from_utf8(epoch).ok()?.into(),
            revision: std::str::from_utf8(revision).ok()?.parse().ok()?,
        })
    }

    /// Goes on to a change, if it is the next one.
    pub(super) fn follow(&mut self, change: &Self) -> Step {
        if change.epoch != self.epoch {
            return Step::Gap;
        }
        match change.revision.cmp(&self.revision.saturating_add(1)) {
            Ordering::Less => Step::Old,
            Ordering::Greater => Step::Gap,
            Ordering::Equal => {
                self.revision = change.revision;
                Step::Next
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(epoch: &str, revision: u64) -> Position {
        Position::read(epoch.as_bytes(), revision.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn only_the_next_change_is_followed() {
        let mut position = at("a", 7);
        for (change, step, revision) in [
            (at("a", 7), Step::Old, 7),
            (at("a", 0), Step::Old, 7),
            (at("a", 8), Step::Next, 8),
            (at("a", 8), Step::Old, 8),
            (at("a", 10), Step::Gap, 8),
            (at("b", 9), Step::Gap, 8),
            (at("b", 1), Step::Gap, 8),
            (at("a", u64::MAX), Step::Gap, 8),
        ] {
            assert_eq!(position.follow(&change), step, "{change:?}");
            assert_eq!(position.revision, revision);
        }
    }

    #[test]
    fn what_is_no_position_is_none() {
        for (epoch, revision) in [(&b"\xff"[..], &b"1"[..]), (b"a", b""), (b"a", b"-1")] {
            assert_eq!(Position::read(epoch, revision), None);
        }
    }
}
