//! Watches of registries: [`Watch`].

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_core::{FusedStream, Stream, stream::BoxStream};
use futures_util::StreamExt;

use crate::{Event, RegistryError};

/// A stream of the events of a registry, returned by [`Registry::watch`](crate::Registry::watch).
///
/// The first event is an [`Event::Snapshot`] of the current registrations. All later changes follow
/// in order. A [`LocalRegistry`](crate::LocalRegistry) takes the snapshot when the watch is
/// created. Other backends take the snapshot when the first event is awaited. Lost events are
/// replaced by a snapshot that is marked as a resync.
///
/// The stream ends when its registry is dropped or after an error. Temporary failures do not end
/// the stream.
///
/// ```
/// # mod agentwire { pub extern crate agentwire_registry as registry; }
/// use agentwire::registry::{Event, LocalRegistry, Registration, Registry, WatchScope};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let registry = LocalRegistry::new();
/// let mut watch = registry.watch(WatchScope::All);
/// registry.register(Registration::new("weather", "tcp://10.0.0.7:8080".parse()?)).await?;
///
/// assert!(matches!(watch.next().await, Some(Ok(Event::Snapshot { .. }))));
/// let Some(Ok(Event::Joined(registration))) = watch.next().await else {
///     panic!("an agent has registered");
/// };
/// assert_eq!(registration.name, "weather");
/// # Ok(())
/// # }
/// ```
pub struct Watch {
    pub(crate) events: BoxStream<'static, Result<Event, RegistryError>>,
    /// The function that returns whether the registry is reachable, or `None` if the registry is
    /// always reachable.
    pub(crate) liveness: Option<Box<dyn Fn() -> bool + Send + Sync>>,
    pub(crate) has_ended: bool,
}

impl Watch {
    /// Returns the next event, or `None` at the end of the stream.
    ///
    /// # Errors
    ///
    /// Returns an error if the watch fails. The watch ends after the error.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe. If the future is dropped, no event is lost.
    pub async fn next(&mut self) -> Option<Result<Event, RegistryError>> {
        StreamExt::next(self).await
    }

    /// Returns `false` if the registry is known to be unreachable.
    ///
    /// While the registry is unreachable, the reported state may be outdated. When the registry can
    /// be reached again, the watch reports a snapshot. The result of this method changes only while
    /// [`next`](Self::next) is awaited. A watch of a registry inside this process is always live.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.liveness.as_ref().is_none_or(|is_live| is_live())
    }
}

impl Stream for Watch {
    type Item = Result<Event, RegistryError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        let event = ready!(self.events.as_mut().poll_next(cx));
        self.has_ended = event.is_none();
        Poll::Ready(event)
    }
}

impl FusedStream for Watch {
    fn is_terminated(&self) -> bool {
        self.has_ended
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("is_live", &self.is_live())
            .field("has_ended", &self.has_ended)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;
    use crate::backend::WatchExt;

    #[tokio::test]
    async fn a_watch_is_fused() {
        let snapshot = Event::snapshot(Vec::new(), false);
        let mut watch = Watch::new(stream::once(async { Ok(snapshot) }));
        assert!(watch.next().await.is_some());
        for _ in 0..2 {
            assert!(watch.next().await.is_none());
            assert!(watch.is_terminated());
        }
    }
}
