//! Isolates the panics and delays of handlers.

use std::{
    any::Any,
    future::Future,
    panic::AssertUnwindSafe,
    time::{Duration, Instant},
};

use agentwire_codec::{ErrorCode, RequestId, WireError};
use agentwire_transport::internal::{LogLimit, Untrusted};
use futures_util::FutureExt;
use tokio::time::timeout;
use tracing::{Instrument, Span};

/// A guard that runs the handler of a request. A handler is an agent, a tool or a registry.
pub(crate) struct Guard<'a> {
    /// The kind of the handler: `agent`, `tool` or `registry`.
    pub(crate) kind: &'static str,
    /// The name of the agent or tool, or the method of the registry, for logs.
    pub(crate) name: &'a str,
    pub(crate) id: &'a RequestId,
    pub(crate) span: &'a Span,
    pub(crate) limit: Option<Duration>,
}

impl Guard<'_> {
    /// Runs `work` in the span of the request until `work` completes, panics or times out.
    ///
    /// # Errors
    ///
    /// Returns `INTERNAL_ERROR` if `work` panics, and the result of `timed_out` if `work` times
    /// out. The error is the answer to the request.
    pub(crate) async fn run<T>(
        &self,
        work: impl Future<Output = T>,
        timed_out: impl FnOnce(Duration) -> WireError,
    ) -> Result<T, WireError> {
        let limited = async {
            match self.limit {
                Some(limit) => timeout(limit, work).await.map_err(|_| timed_out(limit)),
                None => Ok(work.await),
            }
        };
        // Dropping the work may also panic, so panics are caught outside the timeout.
        let outcome = AssertUnwindSafe(limited).catch_unwind();
        let outcome = outcome.instrument(self.span.clone()).await;
        outcome.unwrap_or_else(|panic| Err(self.panicked(&*panic)))
    }

    /// Logs a panic and returns the answer to the request, which does not contain the cause.
    pub(crate) fn panicked(&self, panic: &(dyn Any + Send)) -> WireError {
        let Self { kind, name, id, .. } = self;
        let (name, cause) = (Untrusted(name), Untrusted(panic_text(panic)));
        if let Some(count) = PANICS.record(Instant::now()) {
            tracing::error!(parent: self.span, %name, %id, ?cause, count, "{kind} panicked");
        } else {
            tracing::debug!(parent: self.span, %name, %id, ?cause, "{kind} panicked");
        }
        WireError::new(ErrorCode::INTERNAL_ERROR, format!("{kind} panicked"))
    }
}

/// Returns the message of a panic.
fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("unknown cause")
}

/// The rate is limited because a caller may be able to cause any number of panics.
static PANICS: LogLimit = LogLimit::new();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_panic_is_found_whether_it_is_static_or_formatted() {
        for (panic, text) in [
            (Box::new("a text") as Box<dyn Any + Send>, "a text"),
            (Box::new("a text".to_owned()), "a text"),
            (Box::new(7), "unknown cause"),
        ] {
            assert_eq!(panic_text(&*panic), text);
        }
    }
}
