//! [`Heard`]: the changes that the subscription has received, and [`SyncCheck`].

use std::time::Duration;

use agentwire_transport::internal::Mutex;
use tokio::time::Instant;

use super::position::Position;

/// The position of the last change that the subscription has received.
#[derive(Debug, Default)]
pub(super) struct Heard(Mutex<HeardState>);

/// The number of the subscription, and the position of its last change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct HeardState {
    subscription: u64,
    /// `None` without a subscription.
    position: Option<HeardPosition>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum HeardPosition {
    /// Subscribed, but no position is known yet.
    Unknown,
    Known(Position),
}

impl Heard {
    /// Begins a new subscription.
    pub(super) fn begin(&self) {
        let mut state = self.0.lock();
        state.subscription += 1;
        state.position = Some(HeardPosition::Unknown);
    }

    /// Records the position of a change.
    pub(super) fn record(&self, position: &Position) {
        self.0.lock().position = Some(HeardPosition::Known(position.clone()));
    }

    /// Forgets the position, because the subscription ends.
    pub(super) fn forget(&self) {
        self.0.lock().position = None;
    }

    pub(super) fn state(&self) -> HeardState {
        self.0.lock().clone()
    }

    /// Sets the position of a subscription that has not received a change.
    fn begin_at(&self, position: &Position, before: &HeardState) {
        let mut state = self.0.lock();
        if *state == *before {
            state.position = Some(HeardPosition::Known(position.clone()));
        }
    }
}

/// Notices that the subscription and the commands use different servers, for example after a
/// failover behind a proxy that keeps old sessions. Replicas share the epoch of their primary, so
/// the revisions are compared, in both directions.
#[derive(Debug, Default)]
pub(super) struct SyncCheck {
    /// A revision that the subscription has not reached, and the time at which a sweep found it.
    pending: Option<(u64, Instant)>,
}

impl SyncCheck {
    /// Compares the position that a sweep returned with the changes that were heard before and
    /// after the sweep. Returns whether the subscription and the commands use different servers.
    pub(super) fn is_lost(
        &mut self,
        before: &HeardState,
        heard: &Heard,
        swept: &Position,
        now: Instant,
    ) -> bool {
        let known = match &before.position {
            Some(HeardPosition::Known(position)) => position,
            Some(HeardPosition::Unknown) => {
                self.pending = None;
                heard.begin_at(swept, before);
                return false;
            }
            None => {
                self.pending = None;
                return false;
            }
        };
        if known.epoch != swept.epoch {
            // Watches resync because of the epoch. The next change has a position to compare.
            self.pending = None;
            heard.begin_at(swept, before);
            return false;
        }
        // The change was heard before the sweep began, so the sweep must have seen it.
        if known.revision > swept.revision {
            self.pending = None;
            return true;
        }
        match self.pending {
            Some((revision, _)) if known.revision >= revision => self.pending = None,
            Some((_, since)) if since + MAX_DELAY <= now => {
                self.pending = None;
                return true;
            }
            _ => {}
        }
        if known.revision < swept.revision {
            self.pending.get_or_insert((swept.revision, now));
        }
        false
    }
}

/// The maximum time that a published change may take to arrive.
const MAX_DELAY: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(revision: u64) -> Position {
        Position {
            epoch: "epoch".into(),
            revision,
        }
    }

    fn is_lost(check: &mut SyncCheck, heard: &Heard, revision: u64, now: Instant) -> bool {
        check.is_lost(&heard.state(), heard, &at(revision), now)
    }

    #[test]
    fn a_subscription_that_hears_nothing_of_new_revisions_is_lost() {
        let (mut check, heard, now) = (SyncCheck::default(), Heard::default(), Instant::now());
        assert!(!is_lost(&mut check, &heard, 7, now), "not subscribed");
        heard.begin();
        let later = now + MAX_DELAY;
        for now in [now, later, later + MAX_DELAY] {
            assert!(!is_lost(&mut check, &heard, 7, now), "nothing has changed");
        }
        assert!(!is_lost(&mut check, &heard, 9, now), "it may be on its way");
        assert!(is_lost(&mut check, &heard, 9, later));
        // Changes that arrive late, and further ones, are no loss.
        assert!(!is_lost(&mut check, &heard, 9, now));
        heard.record(&at(9));
        assert!(!is_lost(&mut check, &heard, 10, later));
        heard.record(&at(10));
        assert!(!is_lost(&mut check, &heard, 10, later + MAX_DELAY));
    }

    #[test]
    fn commands_that_know_less_than_the_subscription_use_another_server() {
        let (mut check, heard, now) = (SyncCheck::default(), Heard::default(), Instant::now());
        heard.begin();
        heard.record(&at(9));
        assert!(is_lost(&mut check, &heard, 8, now));
        heard.forget();
        assert!(!is_lost(&mut check, &heard, 8, now));
    }

    #[test]
    fn another_epoch_begins_anew() {
        let (mut check, heard, now) = (SyncCheck::default(), Heard::default(), Instant::now());
        heard.begin();
        heard.record(&Position {
            epoch: "another".into(),
            revision: 900,
        });
        assert!(!is_lost(&mut check, &heard, 8, now));
        assert!(is_lost(&mut check, &heard, 7, now), "it fell back");
    }
}
