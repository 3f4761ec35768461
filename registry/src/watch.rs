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
pub struct Watch {
    events: BoxStream<'static, Result<Event, RegistryError>>,
    /// What tells whether the registry is in touch; `None` if it always is.
    in_touch: Option<Box<dyn Fn() -> bool + Send + Sync>>,
}

impl Watch {
    /// Makes one of any stream of events. For registries.
    #[must_use]
    pub fn new(events: impl Stream<Item = Result<Event, RegistryError>> + Send + 'static) -> Self {
        Self {
            events: Box::pin(events),
            in_touch: None,
        }
    }

    /// Lets [`is_live`](Self::is_live) say what `in_touch` says. For registries that may be out of reach.
    #[must_use]
    pub fn with_liveness(mut self, in_touch: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        self.in_touch = Some(Box::new(in_touch));
        self
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
        self.events.next().await
    }

    /// False where the registry is known to be out of reach: what it told last may not hold
    /// any more, or has told nothing yet; a snapshot comes once it is back. It is found out while [`next`](Self::next) is
    /// awaited. A registry inside this process is always in touch.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.in_touch.as_ref().is_none_or(|in_touch| in_touch())
    }
}

impl Stream for Watch {
    type Item = Result<Event, RegistryError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.events.as_mut().poll_next(cx)
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}
