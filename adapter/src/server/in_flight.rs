use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll, ready},
};

use agentwire_codec::{Body, Envelope, Format, RequestId};
use futures_util::StreamExt;

use super::service::Work;

/// An envelope in the format in which it was asked for (PROTOCOL 10.2).
pub(super) struct Answer {
    pub(super) format: Format,
    pub(super) envelope: Envelope,
}

/// A request that is being worked on.
pub(super) struct InFlight {
    format: Format,
    id: RequestId,
    /// There until it is dropped.
    work: Option<Work>,
}

impl InFlight {
    pub(super) fn new(format: Format, id: RequestId, work: Work) -> Self {
        Self {
            format,
            id,
            work: Some(work),
        }
    }

    /// The next answer; `None` after the last. Nothing follows one that is not a chunk.
    pub(super) fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Option<Answer>> {
        let body = match &mut self.work {
            Some(Work::One(answer)) => Some(ready!(answer.as_mut().poll(cx))),
            Some(Work::Many(answers)) => ready!(answers.poll_next_unpin(cx)),
            None => None,
        };
        Poll::Ready(body.map(|body| self.answer(body)))
    }

    /// Waits for the next answer, and gives the rest back with it.
    pub(super) fn into_next(self) -> Next {
        Next(Some(self))
    }

    fn answer(&self, body: Body) -> Answer {
        Answer {
            format: self.format,
            envelope: Envelope::new(self.id.clone(), body),
        }
    }
}

/// Work that is given up runs what an agent does on the way out, which is no business of the other requests of its
/// connection.
impl Drop for InFlight {
    fn drop(&mut self) {
        let work = self.work.take();
        if catch_unwind(AssertUnwindSafe(|| drop(work))).is_err() {
            tracing::error!(id = %self.id, "a request panicked when it was given up");
        }
    }
}

/// Resolves to the next answer of a request, and the rest of it.
pub(super) struct Next(Option<InFlight>);

impl Future for Next {
    type Output = Option<(Answer, InFlight)>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(in_flight) = &mut self.0 else {
            return Poll::Ready(None);
        };
        let answer = ready!(in_flight.poll_answer(cx));
        Poll::Ready(answer.zip(self.0.take()))
    }
}
