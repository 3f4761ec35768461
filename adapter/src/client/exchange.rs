use std::{
    future::poll_fn,
    io,
    task::{Context, Poll},
    time::Duration,
};

use agentwire_codec::{Body, Envelope, FrameError, Request, RequestId, WireError, put_frame};
use agentwire_transport::Error as TransportError;
use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

use super::{pool::Lease, remote_agent::Target};
use crate::{
    CallSite, Error,
    error::{Phase, ProtocolError},
};

/// One request on its way: what is sent, and until when it waits.
pub(super) struct Exchange {
    pub(super) target: Target,
    pub(super) timeout: Duration,
    id: RequestId,
    /// The tool that is meant, if it is one.
    tool: Option<String>,
    frame: Bytes,
}

/// What one attempt to get an answer comes to.
enum Failure {
    /// The request did not leave: the connection was gone when it was written.
    Unsent(io::Error),
    Broken(Option<FrameError>),
    Protocol(ProtocolError),
}

/// The longest that anything waits. More would be as good as for ever, and overflow the clock.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

impl Exchange {
    /// Encodes the request, so that a message that cannot be sent fails before anything else happens.
    pub(super) fn new(target: Target, timeout: Duration, request: Request) -> Result<Self, Error> {
        let id = RequestId::random();
        let tool = match &request {
            Request::Execute(execute) => Some(execute.tool_name.clone()),
            _ => None,
        };
        let envelope = Envelope::new(id.clone(), request);
        let mut frame = Vec::new();
        let encoded = put_frame(&mut frame, target.frame_limits().max_send(), |buffer| {
            target.format().encode(&envelope, buffer)
        });
        match encoded {
            Ok(()) => Ok(Self {
                target,
                timeout: timeout.min(LONGEST),
                id,
                tool,
                frame: frame.into(),
            }),
            Err(source) => Err(Error::Unsendable {
                site: Box::new(target.site(tool, None)),
                source,
            }),
        }
    }

    /// Sends the request and waits for the first envelope that answers it.
    ///
    /// An idle connection that turns out to be gone when the request is written is replaced: the server
    /// cannot have seen the request. Dropping the future closes the connection.
    pub(super) async fn start(&self) -> Result<(Lease, Body), Error> {
        let deadline = Instant::now() + self.timeout;
        loop {
            let permit = timeout_at(deadline, self.target.pool().permit())
                .await
                .map_err(|_| self.timed_out(Phase::Queueing))?;
            let mut lease = timeout_at(deadline, self.target.pool().lease(permit))
                .await
                .map_err(|_| self.timed_out(Phase::Connecting))?
                .map_err(|source| self.unconnected(source))?;
            let mut unsent = self.frame.clone();
            let answer = poll_fn(|cx| self.poll_answer(&mut lease, &mut unsent, cx));
            match timeout_at(deadline, answer).await {
                Ok(Ok(body)) => return Ok((lease, body)),
                Ok(Err(Failure::Unsent(error))) if lease.reused => {
                    tracing::debug!(id = %self.id, %error, "idle connection was gone; taking another");
                }
                Ok(Err(failure)) => return Err(self.failed(failure)),
                Err(_) if unsent.is_empty() => return Err(self.timed_out(Phase::Receiving)),
                Err(_) => return Err(self.timed_out(Phase::Sending)),
            }
        }
    }

    /// Waits for the next envelope that answers the request.
    pub(super) async fn next(&self, lease: &mut Lease) -> Result<Body, Error> {
        let deadline = Instant::now() + self.timeout;
        let body = poll_fn(|cx| self.poll_body(lease, cx));
        match timeout_at(deadline, body).await {
            Ok(body) => body.map_err(|failure| self.failed(failure)),
            Err(_) => Err(self.timed_out(Phase::Receiving)),
        }
    }

    /// Writes and reads at once: a server may refuse a request before it has taken all of it.
    fn poll_answer(
        &self,
        lease: &mut Lease,
        unsent: &mut Bytes,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Body, Failure>> {
        let written = if unsent.is_empty() {
            Poll::Ready(Ok(()))
        } else {
            lease.link.poll_write_frame(cx, unsent)
        };
        match (self.poll_body(lease, cx), written) {
            (Poll::Ready(Ok(body)), written) => {
                // An answer that came early leaves the rest of the request on the connection.
                lease.spent |= !matches!(written, Poll::Ready(Ok(())));
                Poll::Ready(Ok(body))
            }
            (_, Poll::Ready(Err(error))) if !unsent.is_empty() => {
                Poll::Ready(Err(Failure::Unsent(error)))
            }
            (_, Poll::Ready(Err(error))) => Poll::Ready(Err(Failure::Broken(Some(error.into())))),
            (answer, _) => answer,
        }
    }

    fn poll_body(&self, lease: &mut Lease, cx: &mut Context<'_>) -> Poll<Result<Body, Failure>> {
        loop {
            let envelope = match lease.link.poll_envelope(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(Some(Ok(envelope)))) => envelope,
                Poll::Ready(Ok(Some(Err(error)))) => {
                    return Poll::Ready(Err(Failure::Protocol(error.into())));
                }
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

    pub(super) fn site(&self) -> CallSite {
        self.target.site(self.tool.clone(), Some(self.id.clone()))
    }

    pub(super) fn remote(&self, error: WireError) -> Error {
        Error::from_remote(self.site(), error)
    }

    pub(super) fn unexpected(&self, expected: &'static str, found: &Body) -> Error {
        let found = found.kind().as_str();
        Error::from_protocol(self.site(), ProtocolError::Unexpected { expected, found })
    }

    fn unconnected(&self, source: TransportError) -> Error {
        Error::ConnectionFailed {
            site: Box::new(self.site()),
            source,
        }
    }

    fn timed_out(&self, phase: Phase) -> Error {
        Error::Timeout {
            site: Box::new(self.site()),
            timeout: self.timeout,
            phase,
        }
    }

    fn failed(&self, failure: Failure) -> Error {
        match failure {
            Failure::Unsent(error) => Error::from_write(self.site(), error),
            Failure::Broken(source) => Error::from_broken(self.site(), source),
            Failure::Protocol(source) => Error::from_protocol(self.site(), source),
        }
    }
}
