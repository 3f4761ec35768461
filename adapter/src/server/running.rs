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
        let mut running = Self {
            id,
            work: None,
            guard,
        };
        match service.start(&running.id, body, caller) {
            Ok(work) => {
                running.work = Some(work);
                Ok(running)
            }
            Err(error) => {
                if let Some(guard) = running.guard.take() {
                    guard.failed(&running.id, &error.code);
                }
                Err(Box::new((running.id.clone(), error)))
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

#[cfg(test)]
mod tests {
    use std::{
        future::{pending, ready},
        sync::Arc,
        task::Waker,
        time::Duration,
    };

    use agentwire_codec::{ErrorCode, Message, Response};
    use agentwire_transport::{Peer, internal::Mutex};
    use futures_util::stream;

    use super::*;
    use crate::observer::{Observer, Observers, Outcome, RequestEvent};

    /// Keeps the outcomes of all requests. A request that starts counts as "started" until it ends.
    #[derive(Default)]
    struct Outcomes(Mutex<Vec<String>>);

    impl Observer for Outcomes {
        fn request_started(&self, _: &RequestEvent<'_>) {
            self.0.lock().push("started".to_owned());
        }

        fn request_ended(&self, _: &RequestEvent<'_>, outcome: Outcome<'_>, _: Duration) {
            *self.0.lock().last_mut().unwrap() = outcome.code().to_owned();
        }
    }

    /// What a service does with a request.
    type Script = fn() -> Result<Work, WireError>;

    struct Scripted(Script);

    impl Service for Scripted {
        fn start(&self, _: &RequestId, _: Body, _: &Caller) -> Result<Work, WireError> {
            (self.0)()
        }
    }

    /// Runs a request until it is pending or has ended. Returns its answers and its outcome.
    fn run(script: Script) -> (Vec<EnvelopeType>, String) {
        let outcomes = Arc::new(Outcomes::default());
        let mut observers = Observers::default();
        observers.add(outcomes.clone());
        let caller = Caller::new(Peer::from("a test")).observed(&observers);
        let started = catch_unwind(AssertUnwindSafe(|| {
            let (service, id) = (Scripted(script), RequestId::random());
            Running::start(&service, id, Body::StreamEnd, &caller, None)
        }));
        let mut answers = Vec::new();
        if let Ok(Ok(mut running)) = started {
            let cx = &mut Context::from_waker(Waker::noop());
            while let Poll::Ready(Some(body)) = running.poll_answer(cx) {
                answers.push(body.kind());
            }
        }
        let outcome = outcomes.0.lock().pop().unwrap();
        (answers, outcome)
    }

    fn chunk() -> Body {
        Body::StreamChunk(Message::agent("chunk"))
    }

    /// A future whose drop panics.
    struct Fragile;

    impl Future for Fragile {
        type Output = Body;

        fn poll(self: std::pin::Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Body> {
            Poll::Pending
        }
    }

    impl Drop for Fragile {
        fn drop(&mut self) {
            panic!("as the test wants");
        }
    }

    #[test]
    fn each_request_is_reported_once_however_it_ends() {
        use EnvelopeType::{Error, Response as Answer, StreamChunk, StreamEnd};
        let cases: [(Script, &[EnvelopeType], &str); 7] = [
            (
                || {
                    let answer = Response::Message(Message::agent("hi")).into();
                    Ok(Work::One(Box::pin(ready(answer))))
                },
                &[Answer],
                "OK",
            ),
            (
                || {
                    let error = WireError::new("NO", "no").into();
                    Ok(Work::One(Box::pin(ready(error))))
                },
                &[Error],
                "NO",
            ),
            (
                || Err(WireError::new(ErrorCode::AGENT_NOT_FOUND, "no")),
                &[],
                "AGENT_NOT_FOUND",
            ),
            // A stream without a last answer ends all the same.
            (
                || Ok(Work::Many(Box::pin(stream::iter([chunk(), chunk()])))),
                &[StreamChunk, StreamChunk, StreamEnd],
                "OK",
            ),
            (|| Ok(Work::One(Box::pin(pending()))), &[], "CANCELLED"),
            (|| Ok(Work::One(Box::pin(Fragile))), &[], "CANCELLED"),
            (|| panic!("as the test wants"), &[], "CANCELLED"),
        ];
        for (index, (script, answers, outcome)) in cases.into_iter().enumerate() {
            let expected = (answers.to_vec(), outcome.to_owned());
            assert_eq!(run(script), expected, "case {index}");
        }
    }
}
