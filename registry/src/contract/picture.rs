use std::{collections::BTreeMap, sync::Arc};

use agentwire_transport::Endpoint;

use crate::{Event, Registration};

/// What a reader of a watch knows after a first snapshot of nothing, and a check that events fit together.
#[derive(Debug, Default)]
pub(super) struct Picture {
    known: BTreeMap<(String, Endpoint), Arc<Registration>>,
    /// How often something was left out.
    pub(super) resyncs: usize,
}

impl Picture {
    pub(super) fn apply(&mut self, event: Event) {
        match event {
            Event::Snapshot {
                registrations,
                resync,
            } => {
                assert!(resync, "what stands for what was left out must say so");
                self.resyncs += 1;
                self.known.clear();
                for registration in registrations {
                    self.put(registration);
                }
            }
            Event::Joined(registration) => {
                assert!(self.put(registration).is_none(), "it had joined before");
            }
            Event::Updated(registration) => {
                let before = self.put(registration.clone()).expect("it is there");
                assert!(!before.is_same_offer(&registration), "nothing has changed");
            }
            Event::Left(registration) | Event::Expired(registration) => {
                let key = key(&registration);
                assert!(self.known.remove(&key).is_some(), "it was not there");
            }
        }
    }

    /// True if it is the same as a list.
    pub(super) fn is(&self, listed: &[Arc<Registration>]) -> bool {
        self.known.len() == listed.len()
            && listed.iter().all(|registration| {
                let known = self.known.get(&key(registration));
                known.is_some_and(|known| known.is_same_offer(registration))
            })
    }

    fn put(&mut self, registration: Arc<Registration>) -> Option<Arc<Registration>> {
        self.known.insert(key(&registration), registration)
    }
}

fn key(registration: &Registration) -> (String, Endpoint) {
    (registration.name.clone(), registration.endpoint.clone())
}
