//! Futures of layers. Each holds the work of the wrapped agent once, because work that is moved from
//! future to future costs more than most layers do.

use std::{
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;

pin_project! {
    /// Work whose answer a layer sees before the caller does. If the work panics or is dropped
    /// without an answer, `see` is dropped.
    pub(super) struct Seen<F, S> {
        #[pin]
        work: F,
        see: Option<S>,
    }
}

impl<F: Future, S: FnOnce(&F::Output)> Seen<F, S> {
    pub(super) fn new(work: F, see: S) -> Self {
        Self {
            work,
            see: Some(see),
        }
    }
}

impl<F: Future, S: FnOnce(&F::Output)> Future for Seen<F, S> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let unwinding = Unwinding(this.see);
        let polled = this.work.poll(cx);
        let mut see = mem::ManuallyDrop::new(unwinding);
        let answer = ready!(polled);
        if let Some(see) = see.0.take() {
            see(&answer);
        }
        Poll::Ready(answer)
    }
}

/// Drops a value if the work panics, so that the drop sees the panic. The future itself may be
/// dropped after the panic was caught.
struct Unwinding<'a, S>(&'a mut Option<S>);

impl<S> Drop for Unwinding<'_, S> {
    fn drop(&mut self) {
        self.0.take();
    }
}

pin_project! {
    /// Work that is followed by other work if it fails.
    pub(super) struct OrElse<F, R, S> {
        #[pin]
        first: Option<F>,
        recover: Option<R>,
        second: Option<Pin<Box<S>>>,
    }
}

impl<F, R, S> OrElse<F, R, S> {
    pub(super) fn new(first: F, recover: R) -> Self {
        Self {
            first: Some(first),
            recover: Some(recover),
            second: None,
        }
    }
}

impl<T, E, F, R, S> Future for OrElse<F, R, S>
where
    F: Future<Output = Result<T, E>>,
    R: FnOnce(E) -> S,
    S: Future<Output = Result<T, E>>,
{
    type Output = Result<T, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T, E>> {
        let mut this = self.project();
        if let Some(first) = this.first.as_mut().as_pin_mut() {
            let error = match ready!(first.poll(cx)) {
                Err(error) => error,
                answer => return Poll::Ready(answer),
            };
            // The first work ends before the second starts.
            this.first.set(None);
            match this.recover.take() {
                Some(recover) => *this.second = Some(Box::pin(recover(error))),
                None => return Poll::Ready(Err(error)),
            }
        }
        match this.second {
            Some(second) => second.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }
}
