//! A record of who did what: [`Audit`] and [`JsonLines`].

mod event;
mod file;
mod json_lines;
mod problem;
mod writer;

use std::{fmt, future::Future, sync::Arc};

use futures_core::future::BoxFuture;

pub use self::{
    event::{AuditEvent, AuditKind},
    json_lines::{JsonLines, JsonLinesBuilder, Overload},
    problem::AuditProblem,
};

/// A sink for security-relevant events.
///
/// A request waits until its events are recorded, and is refused if they cannot be. A sink should
/// therefore only queue an event.
pub trait Audit: Send + Sync + 'static {
    /// Records an event.
    ///
    /// # Errors
    ///
    /// Returns [`NotRecorded`] to refuse the request.
    fn record(&self, event: AuditEvent) -> impl Future<Output = Result<(), NotRecorded>> + Send;
}

impl<A: Audit> Audit for Arc<A> {
    async fn record(&self, event: AuditEvent) -> Result<(), NotRecorded> {
        (**self).record(event).await
    }
}

/// An event could not be recorded, so the request must be refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotRecorded;

impl fmt::Display for NotRecorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the event could not be recorded")
    }
}

impl std::error::Error for NotRecorded {}

/// The object-safe form of [`Audit`].
pub(crate) trait DynAudit: Send + Sync {
    fn record(&self, event: AuditEvent) -> BoxFuture<'_, Result<(), NotRecorded>>;
}

impl<A: Audit> DynAudit for A {
    fn record(&self, event: AuditEvent) -> BoxFuture<'_, Result<(), NotRecorded>> {
        Box::pin(Audit::record(self, event))
    }
}
