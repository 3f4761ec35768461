//! One attempt to have a request answered: on a connection of its own, or on a shared one.

use std::{
    future::poll_fn,
    io,
    task::{Context, Poll, ready},
};

use agentwire_codec::{Body, DecodeError, FrameError, RequestId};
use agentwire_transport::Error as TransportError;
use tokio::time::{Instant, timeout_at};

use super::{exchange::Exchange, pool::Lease};
use crate::error::{Phase, ProtocolError};

/// What one attempt to get an answer fails with.
#[derive(Debug)]
pub(super) enum Failure {
    /// The client is closed; and whether the request may have been seen by then.
    Closed {
        sent: bool,
    },
    Connect(TransportError),
    /// The request did not leave: the connection was gone when it was written.
    Unsent(io::Error),
    Broken(Option<FrameError>),
    Protocol(ProtocolError),
    TimedOut(Phase),
}

impl Failure {
    /// The request cannot have been seen.
    pub(super) fn is_unsent(&self) -> bool {
        matches!(
            self,
            Self::Closed { sent: false }
                | Self::Connect(_)
                | Self::Unsent(_)
                | Self::TimedOut(Phase::Resolving | Phase::Queueing | Phase::Connecting)
        )
    }
}

impl From<DecodeError> for Failure {
    fn from(error: DecodeError) -> Self {
        Self::Protocol(error.into())
    }
}

impl Exchange {
    /// Until when to wait for a turn. An instance of several has a part of the time, as far as nobody knows that it is
    /// there.
    fn queue_until(&self, deadline: Instant) -> Instant {
        match &self.route {
            Some(route) => route.queue_until(deadline),
            None => deadline,
        }
    }

    /// Until when to wait for a connection, of which an instance of several has a part of the time, too.
    fn connect_until(&self, deadline: Instant) -> Instant {
        match &self.route {
            Some(route) => route.connect_until(deadline),
            None => deadline,
        }
    }

    /// Whoever waits for a connection to an instance may hear meanwhile that it cannot be reached.
    fn ensure_worth_connecting(&self) -> Result<(), Failure> {
        match &self.route {
            Some(route) if route.is_outdated() => {
                Err(Failure::Unsent(io::ErrorKind::NotConnected.into()))
            }
            _ => Ok(()),
        }
    }

    pub(super) async fn attempt_shared(&self, deadline: Instant) -> Result<Body, Failure> {
        let Some(mux) = self.target.mux() else {
            return Err(Failure::Closed { sent: false });
        };
        let turn = match mux.turns().try_take() {
            Some(turn) => turn,
            None => timeout_at(self.queue_until(deadline), mux.turns().take())
                .await
                .map_err(|_| Failure::TimedOut(Phase::Queueing))?
                .ok_or(Failure::Closed { sent: false })?,
        };
        let seat = mux.seat(turn);
        if !seat.is_connected() {
            let connecting = mux.connect(&seat, || self.ensure_worth_connecting());
            timeout_at(self.connect_until(deadline), connecting)
                .await
                .map_err(|_| Failure::TimedOut(Phase::Connecting))??;
        }
        let gone = || Failure::Unsent(io::ErrorKind::NotConnected.into());
        let mut pending = seat.send(&self.id, &self.frame).ok_or_else(gone)?;
        match timeout_at(deadline, &mut pending).await {
            Ok(answer) => answer,
            Err(_) => {
                pending.timed_out();
                Err(Failure::TimedOut(Phase::Receiving))
            }
        }
    }

    pub(super) async fn attempt_alone(&self, deadline: Instant) -> Result<Body, Failure> {
        let (lease, body) = self.attempt(deadline).await?;
        // After anything else, what this connection holds is anybody's guess, so it is dropped.
        if matches!(body, Body::Response(_) | Body::Error(_)) {
            lease.release();
        }
        Ok(body)
    }

    /// An idle connection that turns out to be gone when the request is written is replaced: the server
    /// cannot have seen the request. Dropping the future closes the connection.
    pub(super) async fn attempt(&self, deadline: Instant) -> Result<(Lease, Body), Failure> {
        loop {
            match self.attempt_once(deadline).await {
                // Each of these is taken out of the pool, so this comes to an end.
                Err((Failure::Unsent(error), true)) => {
                    tracing::debug!(id = %self.id, %error, "idle connection was gone; taking another");
                }
                result => return result.map_err(|(failure, _)| failure),
            }
        }
    }

    /// On failure also tells whether the connection had been idle.
    pub(super) async fn attempt_once(
        &self,
        deadline: Instant,
    ) -> Result<(Lease, Body), (Failure, bool)> {
        let mut lease = match self.lease(deadline).await {
            Ok(lease) => lease,
            Err(failure) => return Err((failure, false)),
        };
        let reused = lease.reused;
        let mut unsent = &self.frame[..];
        match poll_fn(|cx| self.poll_answer(&mut lease, &mut unsent, deadline, cx)).await {
            Ok(body) => Ok((lease, body)),
            Err(failure) => {
                if let Failure::Broken(_) | Failure::Unsent(_) = failure {
                    lease.lost();
                }
                Err((failure, reused))
            }
        }
    }

    /// A connection for this call alone. Nothing is waited for, nor timed, if there is a free one.
    async fn lease(&self, deadline: Instant) -> Result<Lease, Failure> {
        let pool = self.target.pool();
        let turn = match pool.turns().try_take() {
            Some(turn) => turn,
            None => timeout_at(self.queue_until(deadline), pool.turns().take())
                .await
                .map_err(|_| Failure::TimedOut(Phase::Queueing))?
                .ok_or(Failure::Closed { sent: false })?,
        };
        match pool.reuse(turn) {
            Ok(lease) => Ok(lease),
            Err(turn) => {
                self.ensure_worth_connecting()?;
                timeout_at(self.connect_until(deadline), pool.open(turn))
                    .await
                    .map_err(|_| Failure::TimedOut(Phase::Connecting))?
                    .map_err(Failure::Connect)
            }
        }
    }

    /// Writes and reads at once: a server may refuse a request before it has taken all of it.
    fn poll_answer(
        &self,
        lease: &mut Lease,
        unsent: &mut &[u8],
        deadline: Instant,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Body, Failure>> {
        let written = lease.link().poll_write_frame(cx, unsent);
        match (self.poll_body(lease, deadline, cx), written) {
            (Poll::Ready(Ok(body)), written) => {
                // An answer that came early leaves the rest of the request on the connection.
                lease.spent |= !matches!(written, Poll::Ready(Ok(())));
                Poll::Ready(Ok(body))
            }
            (_, Poll::Ready(Err(error))) if !unsent.is_empty() => {
                Poll::Ready(Err(Failure::Unsent(error)))
            }
            (_, Poll::Ready(Err(error))) => Poll::Ready(Err(Failure::Broken(Some(error.into())))),
            // A server that was about to close an idle connection has not seen the whole request. One that closes a
            // new connection in the middle of a request does not want it.
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

    /// The next answer to this request, until the deadline.
    pub(super) fn poll_body(
        &self,
        lease: &mut Lease,
        deadline: Instant,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Body, Failure>> {
        loop {
            let envelope = match lease.link().poll_envelope(cx) {
                Poll::Pending => {
                    ready!(lease.poll_deadline(cx, deadline));
                    return Poll::Ready(Err(Failure::TimedOut(Phase::Receiving)));
                }
                Poll::Ready(Ok(Some(Ok(envelope)))) => envelope,
                Poll::Ready(Ok(Some(Err(error)))) => return Poll::Ready(Err(error.into())),
                Poll::Ready(Ok(None)) => return Poll::Ready(Err(Failure::Broken(None))),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Failure::Broken(Some(error)))),
            };
            if envelope.id == self.id {
                return Poll::Ready(Ok(envelope.body));
            }
            // An error without an id of its own can only be about the one request on this connection.
            // Python's server closes the connection after it.
            if matches!(envelope.body, Body::Error(_)) && envelope.id == RequestId::unknown() {
                lease.spent = true;
                return Poll::Ready(Ok(envelope.body));
            }
            tracing::debug!(id = %envelope.id, "discarding an answer that nobody waits for");
        }
    }
}
