//! Requests that each use their own connection.
//!
//! The caller's future writes the request and reads the answers. No task is involved.

use std::{
    future::poll_fn,
    io,
    sync::Arc,
    task::{Context, Poll, ready},
};

use agentwire_codec::{Body, EnvelopeType, FrameError, RequestId};
use tokio::time::Instant;

use super::pool::{Lease, Pool};
use crate::{
    client::channel::{
        deadlines::Deadlines,
        failure::{Failure, refusal},
        request::Request,
    },
    connection::Received,
    error::{Phase, ends_connection},
};

/// A failed attempt, and whether the attempt reused an idle connection.
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
    // After an unexpected body, the state of the connection is unknown, so the connection is
    // dropped.
    if matches!(body.kind(), EnvelopeType::Response | EnvelopeType::Error) {
        lease.release();
    }
    Ok(body)
}

/// Sends a request and waits for the first answer.
///
/// If an idle connection ends before the request was written, the request is sent on another
/// connection. The server cannot have seen the request. If the future is dropped, the connection is
/// closed.
pub(super) async fn open(
    pool: &Arc<Pool>,
    request: &Request,
    deadlines: Deadlines<'_>,
) -> Result<(Lease, Body), Failure> {
    loop {
        match attempt(pool, request, deadlines).await {
            // The pool no longer contains the closed connection, so the loop terminates.
            Err(AttemptError {
                failure: Failure::Unsent(error),
                reused: true,
            }) => {
                let id = &request.id;
                tracing::debug!(%id, %error, "server closed an idle connection; using another");
            }
            result => return result.map_err(|error| error.failure),
        }
    }
}

/// Sends a request and waits for any response. If the server closes the connection, that counts as
/// a response.
pub(super) async fn ping(
    pool: &Arc<Pool>,
    request: &Request,
    deadlines: Deadlines<'_>,
) -> Result<Option<Body>, Failure> {
    loop {
        match attempt(pool, request, deadlines).await {
            Ok((lease, answer)) => {
                lease.release();
                return Ok(Some(answer));
            }
            // The server responded to the request by closing the new connection.
            Err(AttemptError {
                failure: Failure::Broken(None),
                reused: false,
            }) => return Ok(None),
            // The server may have closed the connection while it was idle, so this failure does not
            // prove that the server is alive. The pool no longer contains the connection, so the
            // loop terminates.
            Err(AttemptError {
                failure: Failure::Broken(_) | Failure::Unsent(_),
                reused: true,
            }) => {}
            Err(error) => return Err(error.failure),
        }
    }
}

/// Waits for the next answer to a streaming request.
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
    let reused = lease.is_reused();
    let mut unsent = &request.frame[..];
    lease.counters().sent(unsent.len());
    let answer = poll_fn(|cx| {
        let until = deadlines.call();
        poll_answer(&mut lease, &request.id, &mut unsent, until, cx)
    });
    match answer.await {
        Ok(body) => Ok((lease, body)),
        Err(failure) => {
            let is_first = !reused && lease.connection().received() == 0;
            let failure = if is_first {
                failure.before_first_answer(pool.endpoint())
            } else {
                failure
            };
            match failure {
                Failure::Broken(_) | Failure::Unsent(_) => lease.lost_before_answer(),
                Failure::TimedOut(_) => lease.timed_out_before_answer(),
                _ => {}
            }
            Err(AttemptError { failure, reused })
        }
    }
}

/// Leases a connection. Returns immediately if an idle connection is available.
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

/// Writes the request and reads the answer concurrently, because a server may refuse a request
/// before reading all of it.
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
            // If the answer arrives before the whole request is written, no other call can use the
            // connection.
            lease.spent |= !matches!(written, Poll::Ready(Ok(())));
            Poll::Ready(Ok(body))
        }
        // A server may refuse the handshake while the request is being written.
        (Poll::Ready(Err(Failure::Broken(Some(FrameError::Io(error))))), _)
            if refusal(&error).is_some() =>
        {
            Poll::Ready(Err(Failure::Broken(Some(error.into()))))
        }
        // A peer that uses another protocol may close the connection while the request is being
        // written.
        (Poll::Ready(Err(Failure::Broken(Some(error)))), _) if error.is_refusal() => {
            Poll::Ready(Err(Failure::Broken(Some(error))))
        }
        (_, Poll::Ready(Err(error))) if !unsent.is_empty() => {
            Poll::Ready(Err(Failure::Unsent(error)))
        }
        (_, Poll::Ready(Err(error))) => Poll::Ready(Err(Failure::Broken(Some(error.into())))),
        // If a reused connection ends while the request is being written, the server has closed an
        // idle connection and cannot have seen the whole request. If a new connection ends while
        // the request is being written, the server has refused the request.
        (Poll::Ready(Err(Failure::Broken(_))), _) if lease.is_reused() && !unsent.is_empty() => {
            Poll::Ready(Err(Failure::Unsent(io::ErrorKind::BrokenPipe.into())))
        }
        (Poll::Ready(Err(Failure::TimedOut(_))), _) if !unsent.is_empty() => {
            Poll::Ready(Err(Failure::TimedOut(Phase::Sending)))
        }
        (answer, _) => answer,
    }
}

/// Waits for the next answer to the request until the deadline.
fn poll_body(
    lease: &mut Lease,
    id: &RequestId,
    until: Instant,
    cx: &mut Context<'_>,
) -> Poll<Result<Body, Failure>> {
    loop {
        let before = lease.connection().received();
        let received = lease.connection().poll_receive(cx);
        lease.count_received_since(before);
        let envelope = match received {
            Poll::Pending => {
                ready!(lease.poll_deadline(cx, until));
                return Poll::Ready(Err(Failure::TimedOut(Phase::Receiving)));
            }
            Poll::Ready(Ok(Received::Envelope(envelope))) => envelope,
            Poll::Ready(Ok(Received::Malformed(error))) => return Poll::Ready(Err(error.into())),
            Poll::Ready(Ok(Received::End)) => return Poll::Ready(Err(Failure::Broken(None))),
            Poll::Ready(Err(error)) => return Poll::Ready(Err(Failure::Broken(Some(error)))),
        };
        // The server may be about to close the connection.
        lease.spent |= matches!(&envelope.body, Body::Error(error) if ends_connection(error));
        if envelope.id == *id {
            return Poll::Ready(Ok(envelope.body));
        }
        // The connection carries only one request, so an error without a request id is the answer
        // to that request. The Python server closes the connection after such an error.
        if envelope.body.kind() == EnvelopeType::Error && envelope.id == RequestId::unknown() {
            lease.spent = true;
            return Poll::Ready(Ok(envelope.body));
        }
        tracing::debug!(id = %envelope.id, "discarding an answer that no call waits for");
    }
}
