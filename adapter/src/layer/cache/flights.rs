//! The messages that the agent works on, each for all of its callers: [`Flights`].

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::Hash,
    sync::{Arc, OnceLock},
};

use agentwire_transport::internal::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};

/// The work that is in flight, by key. There are at most as many entries as callers that wait.
#[derive(Debug)]
pub(super) struct Flights<K, T>(Mutex<HashMap<Arc<K>, Shared<T>>>);

impl<K, T> Default for Flights<K, T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

#[derive(Debug)]
struct Shared<T> {
    flight: Arc<Flight<T>>,
    callers: usize,
}

#[derive(Debug)]
struct Flight<T> {
    /// The permit of the caller that works. Closed as soon as there is an outcome.
    turn: Semaphore,
    outcome: OnceLock<T>,
}

/// What a caller must do.
#[derive(Debug)]
pub(super) enum Turn<'a, T> {
    /// The caller works. If it drops the permit without an outcome, the next caller works.
    Work(Option<SemaphorePermit<'a>>),
    /// Another caller has worked.
    Joined(T),
}

impl<K: Eq + Hash, T: Clone> Flights<K, T> {
    /// Joins the callers with the same key.
    pub(super) fn join(&self, key: Arc<K>) -> Seat<'_, K, T> {
        let mut flights = self.0.lock();
        let shared = flights.entry(Arc::clone(&key)).or_insert_with(|| Shared {
            flight: Arc::new(Flight {
                turn: Semaphore::new(1),
                outcome: OnceLock::new(),
            }),
            callers: 0,
        });
        shared.callers += 1;
        Seat {
            flight: Arc::clone(&shared.flight),
            flights: self,
            key,
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.lock().len()
    }
}

/// The place of one caller. Dropping it leaves the flight.
#[derive(Debug)]
pub(super) struct Seat<'a, K: Eq + Hash, T> {
    flights: &'a Flights<K, T>,
    key: Arc<K>,
    flight: Arc<Flight<T>>,
}

impl<K: Eq + Hash, T: Clone> Seat<'_, K, T> {
    /// Waits until the caller must work or another caller has an outcome. Callers take their turns
    /// in the order in which they joined.
    pub(super) async fn turn(&self) -> Turn<'_, T> {
        let permit = self.flight.turn.acquire().await;
        match self.flight.outcome.get() {
            Some(outcome) => Turn::Joined(outcome.clone()),
            // Without an outcome, the semaphore is open and there is a permit.
            None => Turn::Work(permit.ok()),
        }
    }

    /// Gives the outcome to all callers that wait. Later callers begin anew.
    pub(super) fn settle(&self, outcome: T) {
        let _ = self.flight.outcome.set(outcome);
        self.leave(true);
        self.flight.turn.close();
    }
}

impl<K: Eq + Hash, T> Seat<'_, K, T> {
    /// Removes this caller from the map, or the whole flight.
    fn leave(&self, with_all: bool) {
        let mut flights = self.flights.0.lock();
        if let Entry::Occupied(mut shared) = flights.entry(Arc::clone(&self.key)) {
            // After the outcome, the key may belong to a later flight.
            if Arc::ptr_eq(&shared.get().flight, &self.flight) {
                shared.get_mut().callers -= 1;
                if with_all || shared.get().callers == 0 {
                    shared.remove();
                }
            }
        }
    }
}

impl<K: Eq + Hash, T> Drop for Seat<'_, K, T> {
    fn drop(&mut self) {
        self.leave(false);
    }
}
