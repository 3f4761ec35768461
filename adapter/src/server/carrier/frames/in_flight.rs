//! A request in flight, from its start to its last reply.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use agentwire_codec::{Envelope, Format};

use super::{account::Charge, reply::Reply};
use crate::server::running::Running;

/// A request that a service is processing, with what its replies need.
pub(super) struct InFlight {
    format: Format,
    running: Running,
    /// The memory of the request.
    charge: Option<Charge>,
}

impl InFlight {
    pub(super) fn new(format: Format, running: Running) -> Self {
        Self {
            format,
            running,
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
        let body = ready!(self.running.poll_answer(cx));
        Poll::Ready(body.map(|body| Reply {
            format: self.format,
            envelope: Envelope::new(self.running.id().clone(), body),
        }))
    }

    /// Returns a future that resolves to the next reply and the request.
    pub(super) fn into_next(self) -> NextReply {
        NextReply(Some(self))
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
