//! A connection that many calls share.

use std::sync::Arc;

use tokio_util::task::AbortOnDropHandle;

use super::{driver::Driver, shared::Shared};

/// A connection and its driver task. Dropping `MuxConnection` aborts the task and closes the
/// connection.
#[derive(Debug)]
pub(super) struct MuxConnection {
    shared: Arc<Shared>,
    _driver: AbortOnDropHandle<()>,
}

impl MuxConnection {
    /// Spawns the driver on the current runtime.
    pub(super) fn spawn(shared: Arc<Shared>, driver: Driver) -> Self {
        Self {
            shared,
            _driver: AbortOnDropHandle::new(tokio::spawn(driver.run())),
        }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}
