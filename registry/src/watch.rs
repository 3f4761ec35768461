use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::{Stream, stream::BoxStream};
use futures_util::{StreamExt, stream};

use crate::{Event, RegistryError};

/// What happens in a registry, as a stream: [`Registry::watch`](crate::Registry::watch).
///
/// The first event is a [`Event::Snapshot`] of the present state; what happens after it follows in order. Backends other
/// than a [`LocalRegistry`](crate::LocalRegistry) take it when they are first asked for it. Nothing
/// is left out silently: where something had to be, a snapshot marked as a resync stands in its place. The
/// stream ends with its registry, or with an error that waiting does not mend.
pub struct Watch(BoxStream<'static, Result<Event, RegistryError>>);

impl Watch {
    /// Makes one of any stream of events. For registries.
    #[must_use]
    pub fn new(events: impl Stream<Item = Result<Event, RegistryError>> + Send + 'static) -> Self {
        Self(Box::pin(events))
    }

    /// One that ends in an error at once. For registries.
    #[must_use]
    pub fn failed(error: RegistryError) -> Self {
        Self::new(stream::iter([Err(error)]))
    }

    /// The next event; `None` at the end.
    ///
    /// # Errors
    ///
    /// What ends the watch.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, nothing is lost.
    pub async fn next(&mut self) -> Option<Result<Event, RegistryError>> {
        self.0.next().await
    }
}

impl Stream for Watch {
    type Item = Result<Event, RegistryError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}
