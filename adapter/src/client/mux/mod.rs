//! Many calls on one connection, for servers that answer them as they finish.
//!
//! Each connection has a task that reads and writes; callers put their frames in line and wait. The task
//! belongs to the client and ends with it.

mod connection;
mod driver;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use agentwire_codec::{FrameLimits, RequestId};
use agentwire_transport::{Connector, internal::Mutex};
use tokio::sync::OnceCell;

use self::connection::MuxConnection;
pub(super) use self::connection::Pending;
use super::{
    attempt::Failure,
    counters::Counters,
    frame::Frame,
    turns::{Turn, Turns},
};

/// The shared connections of one client.
#[derive(Debug)]
pub(super) struct Mux {
    connector: Arc<dyn Connector>,
    limits: FrameLimits,
    max_connections: usize,
    max_in_flight: usize,
    /// One for each call that all connections together may have in flight.
    turns: Turns,
    counters: Arc<Counters>,
    places: Mutex<Vec<Arc<Place>>>,
}

/// Where a connection is, or will be: those who are to share it wait here while it is made.
#[derive(Debug, Default)]
struct Place {
    connection: OnceCell<MuxConnection>,
    in_flight: Arc<AtomicUsize>,
}

/// One call's place on a connection.
#[derive(Debug)]
pub(super) struct Seat {
    place: Arc<Place>,
    right: Right,
}

/// The right to have one call in flight on one connection.
#[derive(Debug)]
struct Right {
    in_flight: Arc<AtomicUsize>,
    _turn: Turn,
}

impl Mux {
    pub(super) fn new(
        connector: Arc<dyn Connector>,
        limits: FrameLimits,
        max_connections: usize,
        max_in_flight: usize,
        counters: Arc<Counters>,
    ) -> Self {
        let calls = max_connections.saturating_mul(max_in_flight);
        Self {
            connector,
            limits,
            max_connections,
            max_in_flight,
            turns: Turns::new(calls, Arc::clone(&counters)),
            counters,
            places: Mutex::default(),
        }
    }

    /// The right to have a call in flight, each for one.
    pub(super) fn turns(&self) -> &Turns {
        &self.turns
    }

    /// A place on a connection.
    pub(super) fn seat(&self, turn: Turn) -> Seat {
        let place = self.choose();
        let right = Right {
            in_flight: Arc::clone(&place.in_flight),
            _turn: turn,
        };
        Seat { place, right }
    }

    /// A place without calls, else a new one, else the one with the fewest calls.
    fn choose(&self) -> Arc<Place> {
        let mut places = self.places();
        // Calls that are in flight on them keep them for as long as they need.
        places.retain(|place| {
            !place
                .connection
                .get()
                .is_some_and(MuxConnection::is_retired)
        });
        let fewest = places
            .iter()
            .filter(|place| place.in_flight.load(Relaxed) < self.max_in_flight)
            .min_by_key(|place| place.in_flight.load(Relaxed));
        let place = match fewest {
            Some(place) if place.in_flight.load(Relaxed) == 0 => Arc::clone(place),
            Some(place) if places.len() >= self.max_connections => Arc::clone(place),
            // With a turn in hand and every place full there is one connection less than there may be.
            _ => {
                let place = Arc::<Place>::default();
                places.push(Arc::clone(&place));
                place
            }
        };
        // Counted under the lock, so that two callers do not take the last seat.
        place.in_flight.fetch_add(1, Relaxed);
        place
    }

    /// Makes the connection of a seat, if nobody has made it yet.
    ///
    /// If the one who makes it gives up, the next of those who wait goes on in their place, if it is still `worth` it.
    pub(super) async fn connect(
        &self,
        seat: &Seat,
        worth: impl FnOnce() -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        seat.place
            .connection
            .get_or_try_init(|| async {
                worth()?;
                let connection = self.connector.connect().await.map_err(Failure::Connect)?;
                Ok(MuxConnection::start(
                    connection,
                    self.limits,
                    Arc::clone(&self.counters),
                ))
            })
            .await
            .map(|_| ())
    }

    /// How many connections have no call.
    pub(super) fn idle(&self) -> usize {
        let is_idle = |place: &&Arc<Place>| {
            place.in_flight.load(Relaxed) == 0
                && place
                    .connection
                    .get()
                    .is_some_and(|connection| !connection.is_retired())
        };
        self.places().iter().filter(is_idle).count()
    }

    /// Gives out no more seats.
    pub(super) fn refuse(&self) {
        self.turns.close();
    }

    /// Closes each connection, once it has no calls.
    pub(super) fn close(&self) {
        let places = std::mem::take(&mut *self.places());
        drop(places);
    }

    fn places(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Place>>> {
        self.places.lock()
    }
}

impl Seat {
    /// True if the connection has been made.
    pub(super) fn is_connected(&self) -> bool {
        self.place.connection.initialized()
    }

    /// Puts a frame in line, to be answered under its id. [`Mux::connect`] has made the connection.
    ///
    /// `None` if the connection has ended by now; nothing was sent then.
    pub(super) fn send(self, id: &RequestId, frame: &Frame) -> Option<Pending> {
        let shared = Arc::clone(self.place.connection.get()?.shared());
        shared.send(self, id, frame)
    }
}

impl Drop for Right {
    fn drop(&mut self) {
        self.in_flight.fetch_sub(1, Relaxed);
    }
}
