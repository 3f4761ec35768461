//! Counts the bytes of a connection for the observer of its server.

use tokio::time::Instant;

use crate::observer::{Observers, Side};

/// The bytes of frames that the observer has not been told of. Without an observer, it is empty.
///
/// The bytes are reported together, because a session may read and answer many frames in one turn.
pub(super) struct Traffic(Option<Box<Unreported>>);

struct Unreported {
    observers: Observers,
    received: u64,
    sent: u64,
    /// The time at which bytes were last seen to have arrived, and the number of bytes until then.
    arrival: Option<(Instant, u64)>,
}

impl Traffic {
    pub(super) fn new(observers: &Observers) -> Self {
        Self(observers.get().map(|_| {
            Box::new(Unreported {
                observers: observers.clone(),
                received: 0,
                sent: 0,
                arrival: None,
            })
        }))
    }

    /// Returns the time at which the current request arrived, or `None` without an observer.
    /// Requests that arrived together have the same time. `total` is the number of bytes that have
    /// arrived on the connection.
    pub(super) fn arrival(&mut self, total: u64) -> Option<Instant> {
        let arrival = &mut self.0.as_mut()?.arrival;
        match *arrival {
            Some((time, seen)) if seen == total => Some(time),
            _ => {
                let now = Instant::now();
                *arrival = Some((now, total));
                Some(now)
            }
        }
    }

    pub(super) fn received(&mut self, bytes: usize) {
        if let Some(unreported) = &mut self.0 {
            unreported.received += bytes as u64;
        }
    }

    pub(super) fn sent(&mut self, bytes: usize) {
        if let Some(unreported) = &mut self.0 {
            unreported.sent += bytes as u64;
        }
    }

    /// Reports the bytes since the last report.
    pub(super) fn report(&mut self) {
        let Some(unreported) = &mut self.0 else {
            return;
        };
        let received = std::mem::take(&mut unreported.received);
        let sent = std::mem::take(&mut unreported.sent);
        unreported.observers.report(|observer| {
            if received > 0 {
                observer.bytes_received(Side::Server, received);
            }
            if sent > 0 {
                observer.bytes_sent(Side::Server, sent);
            }
        });
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.report();
    }
}
