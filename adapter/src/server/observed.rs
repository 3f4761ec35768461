//! Reports the requests of a service to the observer of its server.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use agentwire_codec::{Body, EnvelopeType, RequestId, WireError};
use futures_core::{Stream, future::BoxFuture, stream::BoxStream};
use futures_util::StreamExt;

use super::service::{Caller, Service, Work};
use crate::observer::{Observer, Observers, RequestGuard};

/// A service that reports its requests. It stands in front of the gatekeeper, so that it also
/// reports the requests that are denied.
pub(super) struct Observed {
    service: Arc<dyn Service>,
    observer: Arc<dyn Observer>,
}

impl Observed {
    /// Reports the requests of a service, if there is an observer.
    pub(super) fn observe(service: Arc<dyn Service>, observers: &Observers) -> Arc<dyn Service> {
        match observers.get() {
            Some(observer) => Arc::new(Self {
                service,
                observer: Arc::clone(observer),
            }),
            None => service,
        }
    }
}

impl Service for Observed {
    fn behind(&self) -> Option<&dyn Service> {
        Some(&*self.service)
    }

    fn start(&self, id: &RequestId, body: Body, caller: &Caller) -> Result<Work, WireError> {
        let subject = self.service.subject(&body);
        let connection = caller.connection.number();
        let mut guard = RequestGuard::start(&self.observer, subject, id, &caller.peer, connection);
        match self.service.start(id, body, caller) {
            Ok(Work::One(answer)) => Ok(Work::One(Box::pin(ObservedAnswer { answer, guard }))),
            Ok(Work::Many(answers)) => Ok(Work::Many(Box::pin(ObservedAnswers {
                answers,
                guard: Some(guard),
            }))),
            Err(error) => {
                guard.failed(error.code.clone());
                Err(error)
            }
        }
    }
}

struct ObservedAnswer {
    answer: BoxFuture<'static, Body>,
    guard: RequestGuard,
}

impl Future for ObservedAnswer {
    type Output = Body;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Body> {
        let body = ready!(self.answer.as_mut().poll(cx));
        self.guard.answered(&body);
        Poll::Ready(body)
    }
}

struct ObservedAnswers {
    answers: BoxStream<'static, Body>,
    /// The guard, until the last answer.
    guard: Option<RequestGuard>,
}

impl Stream for ObservedAnswers {
    type Item = Body;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Body>> {
        let body = ready!(self.answers.poll_next_unpin(cx));
        if let Some(body) = &body {
            if body.kind() != EnvelopeType::StreamChunk {
                if let Some(mut guard) = self.guard.take() {
                    guard.answered(body);
                }
            }
        }
        Poll::Ready(body)
    }
}
