use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use agentwire_codec::FrameLimits;
use agentwire_transport::{Connector, Error as TransportError};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use crate::link::Link;

/// The connections of one client: those that are free, and how many there may be.
///
/// A call takes one for itself and gives it back when it has its answer. A call that is given up drops it,
/// which closes it: no late answer can reach another call.
#[derive(Debug)]
pub(super) struct Pool {
    connector: Arc<dyn Connector>,
    limits: FrameLimits,
    permits: Arc<Semaphore>,
    /// The one used last is at the end and is taken first, so that those beyond need grow old.
    idle: Mutex<Vec<Idle>>,
}

#[derive(Debug)]
struct Idle {
    link: Link,
    since: Instant,
}

/// A connection on loan to one call.
#[derive(Debug)]
pub(super) struct Lease {
    pool: Arc<Pool>,
    pub(super) link: Link,
    /// Its server may have closed it while it was idle, without this side knowing.
    pub(super) reused: bool,
    /// Its server is about to close it, so it is of no use to another call.
    pub(super) spent: bool,
    _permit: OwnedSemaphorePermit,
}

/// Servers close connections that are idle for 60 s (PROTOCOL 8.2); don't meet them half-way.
const IDLE_LIMIT: Duration = Duration::from_secs(50);

impl Pool {
    pub(super) fn new(
        connector: Arc<dyn Connector>,
        limits: FrameLimits,
        max_connections: usize,
    ) -> Self {
        let permits = Arc::new(Semaphore::new(max_connections.min(Semaphore::MAX_PERMITS)));
        Self {
            connector,
            limits,
            permits,
            idle: Mutex::default(),
        }
    }

    pub(super) fn connector(&self) -> &Arc<dyn Connector> {
        &self.connector
    }

    /// Waits for the right to have a connection. Those who wait are served in order.
    pub(super) async fn permit(&self) -> OwnedSemaphorePermit {
        match Arc::clone(&self.permits).acquire_owned().await {
            Ok(permit) => permit,
            // The semaphore is never closed.
            Err(_) => std::future::pending().await,
        }
    }

    /// A free connection that is alive, or a new one.
    pub(super) async fn lease(
        self: &Arc<Self>,
        permit: OwnedSemaphorePermit,
    ) -> Result<Lease, TransportError> {
        let (link, reused) = match self.take_idle() {
            Some(link) => (link, true),
            None => (
                Link::new(self.connector.connect().await?, self.limits),
                false,
            ),
        };
        Ok(Lease {
            pool: Arc::clone(self),
            link,
            reused,
            spent: false,
            _permit: permit,
        })
    }

    fn take_idle(&self) -> Option<Link> {
        drop(self.expired());
        loop {
            // The lock is free again before the connection is looked at or dropped.
            let idle = self.idle().pop();
            let Idle { mut link, .. } = idle?;
            if link.is_quiet() {
                return Some(link);
            }
        }
    }

    /// Takes out those that have been idle for too long. They stand in front, the oldest first.
    fn expired(&self) -> Vec<Idle> {
        let mut idle = self.idle();
        let len = idle.partition_point(|idle| idle.since.elapsed() >= IDLE_LIMIT);
        idle.drain(..len).collect()
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Idle>> {
        // Nothing can panic while the lock is held, so its data is always whole.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    /// Gives the connection back, for the next call.
    pub(super) fn release(self) {
        if self.spent {
            return;
        }
        drop(self.pool.expired());
        let mut idle = self.pool.idle();
        idle.push(Idle {
            link: self.link,
            since: Instant::now(),
        });
    }
}
