//! Requests that have a connection to themselves.
//!
//! They are written and read in the caller's own future, without a task in between.

use std::{
    future::poll_fn,
    io,
    sync::Arc,
    task::{Context, Poll, ready},
};

use agentwire_codec::{Body, FrameError, RequestId};
use tokio::time::Instant;

use super::pool::{Lease, Pool};
use crate::{
    client::channel::{deadlines::Deadlines, failure::Failure, request::Request},
    connection::Received,
    error::Phase,
};

/// An attempt that failed on a connection that had been idle, or on a new one.
struct AttemptError {
    failure: Failure,
    reused: bool,
}

/// Sends a request and waits for its only answer.
pub(super) async fn call(
    pool: &Arc<Pool>,
    request: &Request,
    deadlines: Deadlines<'_>,
) -> Result<Body, Failure> {
    let (lease, body) = open(pool, request, deadlines).await?;
    // After any other body the state of the connection is unknown, so it is dropped.
    if matches!(body, Body::Response(_) | Body::Error(_)) {
        lease.release();
    }
    Ok(body)
}

/// Sends a request and waits for the first of its answers.
///
/// An idle connection that turns out to be closed when the request is written is replaced: the
/// server cannot have seen the request. Dropping the future closes the connection.
pub(super) async fn open(
    pool: &Arc<Pool>,
    request: &Request,
    deadlines: Deadlines<'_>,
) -> Result<(Lease, Body), Failure> {
    loop {
        match attempt(pool, request, deadlines).await {
            // Each of these connections leaves the pool, so the loop ends.
            Err(AttemptError {
                failure: Failure::Unsent(error),
                reused: true,
            }) => {
                let id = &request.id;
                tracing::debug!(%id, %error, "idle connection was closed; taking another");
            }
            result => return result.map_err(|error| error.failure),
        }
    }
}

/// Sends a request and waits for any reaction to it, including the end of the connection.
pub(super) async fn ping(
    pool: &Arc<Pool>,
    request: &Request,
    deadlines: Deadlines<'_>,
) -> Result<(), Failure> {
    loop {
        match attempt(pool, request, deadlines).await {
            Ok((lease, _)) => {
                lease.release();
                return Ok(());
            }
            // The server has closed a new connection in answer.
            Err(AttemptError {
                failure: Failure::Broken(None),
                reused: false,
            }) => return Ok(()),
            // The server may have closed the connection before, while it was idle. Each of these
            // connections leaves the pool, so the loop ends.
            Err(AttemptError {
                failure: Failure::Broken(_) | Failure::Unsent(_),
                reused: true,
            }) => {}
            Err(error) => return Err(error.failure),
        }
    }
}

/// Waits for the next answer to a request that has several.
pub(in crate::client::channel) async fn next_answer(
    lease: &mut Lease,
    id: &RequestId,
    until: Instant,
) -> Result<Body, Failure> {
    let answer = poll_fn(|cx| poll_body(lease, id, until, cx)).await;
    if let Err(Failure::Broken(_)) = answer {
        lease.count_lost();
    }
    answer
}

async fn attempt(
    pool: &Arc<Pool>,
    request: &Request,
    deadlines: Deadlines<'_>,
) -> Result<(Lease, Body), AttemptError> {
    let mut lease = match lease(pool, deadlines).await {
        Ok(lease) => lease,
        Err(failure) => {
            return Err(AttemptError {
                failure,
                reused: false,
            });
        }
    };
    let reused = lease.reused;
    let mut unsent = &request.frame[..];
    let answer = poll_fn(|cx| {
        let until = deadlines.call();
        poll_answer(&mut lease, &request.id, &mut unsent, until, cx)
    });
    match answer.await {
        Ok(body) => Ok((lease, body)),
        Err(failure) => {
            if let Failure::Broken(_) | Failure::Unsent(_) = failure {
                lease.count_lost();
            }
            Err(AttemptError { failure, reused })
        }
    }
}

/// Takes a connection. If one is idle, this neither waits nor reads the clock.
async fn lease(pool: &Arc<Pool>, deadlines: Deadlines<'_>) -> Result<Lease, Failure> {
    let permit = deadlines.acquire(pool.permits()).await?;
    match pool.reuse(permit) {
        Ok(lease) => Ok(lease),
        Err(permit) => {
            deadlines.check_candidate()?;
            deadlines.connect(pool.endpoint(), pool.open(permit)).await
        }
    }
}

/// Writes and reads concurrently, because a server may refuse a request before it has read all of
/// it.
fn poll_answer(
    lease: &mut Lease,
    id: &RequestId,
    unsent: &mut &[u8],
    until: Instant,
    cx: &mut Context<'_>,
) -> Poll<Result<Body, Failure>> {
    let written = lease.connection().poll_write_frame(cx, unsent);
    match (poll_body(lease, id, until, cx), written) {
        (Poll::Ready(Ok(body)), written) => {
            // An early answer leaves the rest of the request on the connection.
            lease.spent |= !matches!(written, Poll::Ready(Ok(())));
            Poll::Ready(Ok(body))
        }
        (_, Poll::Ready(Err(error))) if !unsent.is_empty() => {
            Poll::Ready(Err(Failure::Unsent(error)))
        }
        (_, Poll::Ready(Err(error))) => Poll::Ready(Err(Failure::Broken(Some(error.into())))),
        // A server that was about to close an idle connection has not seen the whole request. A
        // server that closes a new connection in the middle of a request refuses that request.
        (Poll::Ready(Err(Failure::Broken(error))), _)
            if lease.reused
                && !unsent.is_empty()
                && !matches!(error, Some(FrameError::TooLarge { .. })) =>
        {
            Poll::Ready(Err(Failure::Unsent(io::ErrorKind::BrokenPipe.into())))
        }
        (Poll::Ready(Err(Failure::TimedOut(_))), _) if !unsent.is_empty() => {
            Poll::Ready(Err(Failure::TimedOut(Phase::Sending)))
        }
        (answer, _) => answer,
    }
}

/// Waits for the next answer to this request, until the deadline.
fn poll_body(
    lease: &mut Lease,
    id: &RequestId,
    until: Instant,
    cx: &mut Context<'_>,
) -> Poll<Result<Body, Failure>> {
    loop {
        let envelope = match lease.connection().poll_receive(cx) {
            Poll::Pending => {
                ready!(lease.poll_deadline(cx, until));
                return Poll::Ready(Err(Failure::TimedOut(Phase::Receiving)));
            }
            Poll::Ready(Ok(Received::Envelope(envelope))) => envelope,
            Poll::Ready(Ok(Received::Malformed(error))) => return Poll::Ready(Err(error.into())),
            Poll::Ready(Ok(Received::End)) => return Poll::Ready(Err(Failure::Broken(None))),
            Poll::Ready(Err(error)) => return Poll::Ready(Err(Failure::Broken(Some(error)))),
        };
        if envelope.id == *id {
            return Poll::Ready(Ok(envelope.body));
        }
        // An error without an id of its own can only concern the one request on this connection.
        // Python's server closes the connection after it.
        if matches!(envelope.body, Body::Error(_)) && envelope.id == RequestId::unknown() {
            lease.spent = true;
            return Poll::Ready(Ok(envelope.body));
        }
        tracing::debug!(id = %envelope.id, "discarding an answer that no call waits for");
    }
}
