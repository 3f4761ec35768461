//! A request in flight, from its start to its last reply.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};

use agentwire_codec::{Body, Envelope, Format, RequestId};
use agentwire_transport::internal::LogLimit;
use futures_util::StreamExt;

use super::{account::Charge, reply::Reply};
use crate::server::service::Work;

/// A request that a service is processing.
pub(super) struct InFlight {
    format: Format,
    id: RequestId,
    /// The work of the service, or `None` while the request is being dropped.
    work: Option<Work>,
    /// The memory of the request.
    charge: Option<Charge>,
}

impl InFlight {
    pub(super) fn new(format: Format, id: RequestId, work: Work) -> Self {
        Self {
            format,
            id,
            work: Some(work),
            charge: None,
        }
    }

    /// Keeps the memory of the request charged until the request is dropped.
    pub(super) fn with_charge(mut self, charge: Charge) -> Self {
        self.charge = Some(charge);
        self
    }

    /// Returns the charge for the memory of the request.
    pub(super) fn take_charge(&mut self) -> Option<Charge> {
        self.charge.take()
    }

    /// Polls for the next reply. Returns `None` after the last reply. Only a chunk can be followed
    /// by another reply.
    pub(super) fn poll_reply(&mut self, cx: &mut Context<'_>) -> Poll<Option<Reply>> {
        let body = match &mut self.work {
            Some(Work::One(answer)) => Some(ready!(answer.as_mut().poll(cx))),
            Some(Work::Many(answers)) => ready!(answers.poll_next_unpin(cx)),
            None => None,
        };
        Poll::Ready(body.map(|body| self.reply(body)))
    }

    /// Returns a future that resolves to the next reply and the request.
    pub(super) fn into_next(self) -> NextReply {
        NextReply(Some(self))
    }

    fn reply(&self, body: Body) -> Reply {
        Reply {
            format: self.format,
            envelope: Envelope::new(self.id.clone(), body),
        }
    }
}

/// Catches a panic while the future of the agent is dropped. The panic must not affect other
/// requests of the connection.
impl Drop for InFlight {
    fn drop(&mut self) {
        let work = self.work.take();
        if catch_unwind(AssertUnwindSafe(|| drop(work))).is_err() {
            if let Some(count) = PANICS.record(Instant::now()) {
                tracing::error!(id = %self.id, count, "request panicked while it was dropped");
            }
        }
    }
}

/// A future that resolves to the next reply and the request, or to `None` after the last reply.
pub(super) struct NextReply(Option<InFlight>);

impl Future for NextReply {
    type Output = Option<(Reply, InFlight)>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(in_flight) = &mut self.0 else {
            return Poll::Ready(None);
        };
        let reply = ready!(in_flight.poll_reply(cx));
        Poll::Ready(reply.zip(self.0.take()))
    }
}

static PANICS: LogLimit = LogLimit::new();
