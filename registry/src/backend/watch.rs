//! Constructors of watches for backends: [`WatchExt`].

use futures_core::Stream;
use futures_util::stream;

use crate::{Event, RegistryError, Watch};

/// Constructors of a [`Watch`] for backends.
pub trait WatchExt: Sized {
    /// Creates a watch from a stream of events, the first of which must be a snapshot.
    #[must_use]
    fn new(events: impl Stream<Item = Result<Event, RegistryError>> + Send + 'static) -> Self;

    /// Creates a watch that ends immediately with `error`.
    #[must_use]
    fn failed(error: RegistryError) -> Self;

    /// Sets the function that [`Watch::is_live`] calls. By default, a watch is always live. A
    /// registry that can become unreachable should set this function.
    #[must_use]
    fn with_liveness(self, is_live: impl Fn() -> bool + Send + Sync + 'static) -> Self;
}

impl WatchExt for Watch {
    fn new(events: impl Stream<Item = Result<Event, RegistryError>> + Send + 'static) -> Self {
        Self {
            events: Box::pin(events),
            liveness: None,
            has_ended: false,
        }
    }

    fn failed(error: RegistryError) -> Self {
        Self::new(stream::iter([Err(error)]))
    }

    fn with_liveness(mut self, is_live: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        self.liveness = Some(Box::new(is_live));
        self
    }
}
