//! The registrations that a watch has reported: [`WatchView`].

use std::{collections::BTreeMap, sync::Arc};

use agentwire_transport::Endpoint;

use crate::{Event, Registration};

/// The registrations that a watch has reported since an empty snapshot. `WatchView` checks that the
/// events are consistent.
#[derive(Debug, Default)]
pub(super) struct WatchView {
    known: BTreeMap<(String, Endpoint), Arc<Registration>>,
    /// The number of resyncs.
    pub(super) resyncs: usize,
}

impl WatchView {
    pub(super) fn apply(&mut self, event: Event) {
        match event {
            Event::Snapshot {
                registrations,
                resync,
            } => {
                assert!(resync, "a later snapshot must be a resync");
                self.resyncs += 1;
                self.known.clear();
                for registration in registrations {
                    self.insert(registration);
                }
            }
            Event::Joined(registration) => {
                assert!(self.insert(registration).is_none(), "joined twice");
            }
            Event::Updated(registration) => {
                let before = self
                    .insert(registration.clone())
                    .expect("an update of a known registration");
                assert!(
                    !before.is_same_offer(&registration),
                    "an update without a change"
                );
            }
            Event::Left(registration) | Event::Expired(registration) => {
                let key = key(&registration);
                assert!(
                    self.known.remove(&key).is_some(),
                    "the end of an unknown registration"
                );
            }
        }
    }

    /// Returns whether the view and a list contain the same registrations.
    pub(super) fn equals(&self, listed: &[Arc<Registration>]) -> bool {
        self.known.len() == listed.len()
            && listed.iter().all(|registration| {
                let known = self.known.get(&key(registration));
                known.is_some_and(|known| known.is_same_offer(registration))
            })
    }

    fn insert(&mut self, registration: Arc<Registration>) -> Option<Arc<Registration>> {
        self.known.insert(key(&registration), registration)
    }
}

fn key(registration: &Registration) -> (String, Endpoint) {
    (registration.name.clone(), registration.endpoint.clone())
}
