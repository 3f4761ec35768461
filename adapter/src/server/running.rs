//! A request that a service is processing, from its start to its last answer: [`Running`].

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    task::{Context, Poll, ready},
};

use agentwire_codec::{Body, EnvelopeType, RequestId, WireError};
use agentwire_transport::internal::LogLimit;
use futures_util::StreamExt;
use tokio::time::Instant;

use super::service::{Caller, Service, Work};
use crate::observer::RequestGuard;

/// A request in flight.
///
/// The request is reported to the observer of the server, also if it is denied. A panic while the
/// future of an agent is dropped does not affect the other requests of the connection.
pub(super) struct Running {
    id: RequestId,
    /// The work of the service, until its last answer.
    work: Option<Work>,
    /// Reports the end of the request, if there is an observer.
    guard: Option<RequestGuard>,
}

impl Running {
    /// Starts a request of a type that the service accepts. For observers, the request has arrived
    /// now, unless its arrival is known.
    ///
    /// # Errors
    ///
    /// Returns the error that answers the request.
    pub(super) fn start(
        service: &dyn Service,
        id: RequestId,
        body: Body,
        caller: &Caller,
        arrival: Option<Instant>,
    ) -> Result<Self, Box<(RequestId, WireError)>> {
        let guard = caller.reporter.as_ref();
        let guard = guard.map(|reporter| {
            let arrival = arrival.unwrap_or_else(Instant::now);
            reporter.start(service.subject(&body), &id, arrival)
        });
        match service.start(&id, body, caller) {
            Ok(work) => Ok(Self {
                id,
                work: Some(work),
                guard,
            }),
            Err(error) => {
                if let Some(guard) = guard {
                    guard.failed(&id, &error.code);
                }
                Err(Box::new((id, error)))
            }
        }
    }

    pub(super) fn id(&self) -> &RequestId {
        &self.id
    }

    /// Polls for the next answer. Only a chunk is followed by another answer. Returns `None` after
    /// the last answer, with which the work is dropped.
    pub(super) fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Option<Body>> {
        let body = match &mut self.work {
            Some(Work::One(answer)) => ready!(answer.as_mut().poll(cx)),
            // A stream without a last answer has ended all the same.
            Some(Work::Many(answers)) => {
                ready!(answers.poll_next_unpin(cx)).unwrap_or(Body::StreamEnd)
            }
            None => return Poll::Ready(None),
        };
        if body.kind() != EnvelopeType::StreamChunk {
            if let Some(guard) = self.guard.take() {
                guard.answered(&self.id, &body);
            }
            self.end();
        }
        Poll::Ready(Some(body))
    }

    /// Returns whether the last answer was given.
    #[cfg(any(feature = "grpc", feature = "http"))]
    pub(super) fn has_ended(&self) -> bool {
        self.work.is_none()
    }

    /// Drops the work. The request counts as cancelled, unless its last answer was given.
    pub(super) fn end(&mut self) {
        let work = self.work.take();
        if catch_unwind(AssertUnwindSafe(|| drop(work))).is_err() {
            if let Some(count) = PANICS.record(Instant::now().into_std()) {
                tracing::error!(id = %self.id, count, "request panicked while it was dropped");
            }
        }
        if let Some(guard) = self.guard.take() {
            guard.cancelled(&self.id);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

static PANICS: LogLimit = LogLimit::new();
