use std::{future::poll_fn, time::Duration};

use agentwire_codec::{
    Body, Envelope, ErrorCode, Heartbeat, Request, RequestId, WireError, put_frame,
};
use agentwire_transport::internal::MAX_TIMEOUT;
use tokio::time::{Instant, sleep};
use tracing::{Instrument, Span};

use super::{
    attempt::Failure,
    counters::Counted,
    discovery::{Lost, Route},
    frame::Frame,
    pool::Lease,
    retry::Retries,
    target::Target,
};
use crate::{
    CallContext, Error,
    connection::buffer_pool,
    error::{Phase, ProtocolError},
};

/// One request on its way: what is sent, and until when it waits.
pub(super) struct Exchange {
    /// Where it is sent, at this attempt.
    pub(super) target: Target,
    /// There only if the agent is called by name: chooses the target of each attempt.
    pub(super) route: Option<Box<Route>>,
    timeout: Duration,
    pub(super) id: RequestId,
    /// The tool that is meant, if it is one.
    tool: Option<String>,
    method: &'static str,
    pub(super) frame: Frame,
    _in_flight: Counted,
}

/// When a stream must have come to its end, and how long it was given.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    pub(super) at: Instant,
    pub(super) total: Duration,
}

impl Exchange {
    /// Encodes the request, so that a message that cannot be sent fails before anything else happens.
    pub(super) fn new(
        target: Target,
        timeout: Duration,
        body: impl Into<Body>,
    ) -> Result<Self, Error> {
        let (id, body) = (RequestId::random(), body.into());
        let method = match &body {
            Body::Request(Request::Process(_)) => "process",
            Body::Request(Request::Stream(_)) => "stream",
            Body::Request(Request::Execute(_)) => "execute",
            other => other.kind().as_str(),
        };
        let tool = match &body {
            Body::Request(Request::Execute(execute)) => Some(execute.tool_name.clone()),
            _ => None,
        };
        Self::encode(target, timeout, id, tool, method, body)
    }

    /// A heartbeat, to see what comes of it.
    pub(super) fn ping(
        target: Target,
        timeout: Duration,
        heartbeat: Heartbeat,
    ) -> Result<Self, Error> {
        let id = RequestId::random();
        Self::encode(target, timeout, id, None, "ping", heartbeat.into())
    }

    fn encode(
        target: Target,
        timeout: Duration,
        id: RequestId,
        tool: Option<String>,
        method: &'static str,
        body: Body,
    ) -> Result<Self, Error> {
        let envelope = Envelope::new(id.clone(), body);
        let mut frame = buffer_pool::take_write_buffer();
        let encoded = put_frame(&mut frame, target.frame_limits().max_send(), |buffer| {
            target.format().encode(&envelope, buffer)
        });
        match encoded {
            Ok(()) => Ok(Self {
                _in_flight: target.counters().in_flight(),
                route: (target.discovery())
                    .map(|discovery| Box::new(Route::new(target.clone(), discovery.clone()))),
                target,
                timeout: timeout.min(MAX_TIMEOUT),
                id,
                tool,
                method,
                frame: frame.into(),
            }),
            Err(source) => Err(Error::Encode {
                site: Box::new(target.site(tool, None)),
                source,
            }),
        }
    }

    /// Sends the request and waits for its answer, which is the only one.
    pub(super) async fn call(&mut self) -> Result<Body, Error> {
        let _awaited_on_close = self.target.calls().token();
        let span = self.span();
        observed(span, self.call_until_settled(), refusal).await
    }

    async fn call_until_settled(&mut self) -> Result<Body, Error> {
        let deadline = Instant::now() + self.timeout;
        let mut retries = self.target.retry().start();
        loop {
            self.aim(&mut retries, deadline).await?;
            let attempt = match self.target.mux() {
                Some(_) => self.attempt_shared(deadline).await,
                None => self.attempt_alone(deadline).await,
            };
            if let Some(settled) = self.settle(attempt, &mut retries, deadline).await {
                return settled;
            }
        }
    }

    /// Sends the request and waits for the first of its answers, on a connection for it alone. An answer that is
    /// an error is one here, too.
    pub(super) async fn open(&mut self, limit: Option<Limit>) -> Result<(Lease, Body), Error> {
        let span = self.span();
        let closed = self.target.closed().clone();
        let opening = async {
            tokio::select! {
                biased;
                () = closed.cancelled() => Err(self.failed(Failure::Closed { sent: true })),
                opened = self.open_until_settled(limit) => opened,
            }
        };
        observed(span, opening, |_| None).await
    }

    async fn open_until_settled(&mut self, limit: Option<Limit>) -> Result<(Lease, Body), Error> {
        let deadline = self.deadline(limit);
        let mut retries = self.target.retry().start();
        loop {
            let aimed = self.aim(&mut retries, deadline).await;
            aimed.map_err(|error| self.in_time(error, limit))?;
            let attempt = match self.attempt(deadline).await {
                Ok((lease, Body::Error(error))) => {
                    // Nothing follows it, so others may have the connection.
                    lease.release();
                    Ok(Body::Error(error))
                }
                Ok(opened) => {
                    self.answered();
                    return Ok(opened);
                }
                Err(failure) => Err(failure),
            };
            match self.settle(attempt, &mut retries, deadline).await {
                None => {}
                Some(Ok(Body::Error(error))) => return Err(self.remote(error)),
                Some(Ok(other)) => return Err(self.unexpected("an answer", &other)),
                Some(Err(error)) => return Err(self.in_time(error, limit)),
            }
        }
    }

    /// Sends the request. Any reaction to it will do, the end of the connection too.
    pub(super) async fn prove_life(&mut self) -> Result<(), Error> {
        let _awaited_on_close = self.target.calls().token();
        let span = self.span();
        observed(span, self.prove_life_until_settled(), |()| None).await
    }

    async fn prove_life_until_settled(&mut self) -> Result<(), Error> {
        let deadline = Instant::now() + self.timeout;
        let mut retries = self.target.retry().start();
        loop {
            self.aim(&mut retries, deadline).await?;
            let failure = match self.attempt_once(deadline).await {
                Ok((lease, _)) => {
                    lease.release();
                    self.answered();
                    return Ok(());
                }
                // It was closed properly, in answer. One that had been idle may have been closed before.
                Err((Failure::Broken(None), false)) => return Ok(()),
                Err((Failure::Broken(_) | Failure::Unsent(_), true)) => continue,
                Err((failure, _)) => failure,
            };
            if let Some(settled) = self.settle(Err(failure), &mut retries, deadline).await {
                return settled.map(|_| ());
            }
        }
    }

    /// The next answer of those that are many.
    pub(super) async fn next(
        &self,
        lease: &mut Lease,
        limit: Option<Limit>,
    ) -> Result<Body, Error> {
        let deadline = self.deadline(limit);
        let is_over = limit.is_some_and(|limit| limit.at <= Instant::now());
        let failure = if is_over {
            // Chunks that are there already must not outrun the limit.
            Failure::TimedOut(Phase::Receiving)
        } else {
            let body = poll_fn(|cx| self.poll_body(lease, deadline, cx));
            tokio::select! {
                biased;
                () = self.target.closed().cancelled() => Failure::Closed { sent: true },
                body = body => match body {
                    Ok(body) => return Ok(body),
                    Err(failure) => failure,
                },
            }
        };
        if let Failure::Broken(_) = failure {
            self.target.counters().lost();
        }
        Err(self.in_time(self.failed(failure), limit))
    }

    fn span(&self) -> Span {
        tracing::debug_span!(
            "call",
            endpoint = %self.target.endpoint(),
            agent = self.target.config().name,
            method = self.method,
            id = %self.id,
        )
    }

    fn deadline(&self, limit: Option<Limit>) -> Instant {
        let next = Instant::now() + self.timeout;
        limit.map_or(next, |limit| limit.at.min(next))
    }

    /// Names the limit that was reached, if it is that of the whole.
    fn in_time(&self, mut error: Error, limit: Option<Limit>) -> Error {
        let reached = limit.filter(|limit| limit.at <= Instant::now());
        if let (Error::Timeout { timeout, .. }, Some(limit)) = (&mut error, reached) {
            *timeout = limit.total;
        }
        error
    }

    /// Chooses where the next attempt goes, if there is a choice.
    async fn aim(&mut self, retries: &mut Retries, deadline: Instant) -> Result<(), Error> {
        let Some(route) = &mut self.route else {
            return Ok(());
        };
        // Boxed, so that calls to a fixed endpoint do not carry its state.
        match Box::pin(route.choose(deadline)).await {
            Ok(target) => {
                self.target = target;
                Ok(())
            }
            Err(lost) => {
                self.target = route.client().clone();
                Err(retries.kept().unwrap_or_else(|| self.lost(lost)))
            }
        }
    }

    /// Tells whoever chooses that the instance answered.
    fn answered(&self) {
        if let Some(route) = &self.route {
            route.answered();
        }
    }

    /// What an attempt comes to; `None` if there is to be another, which is then due.
    async fn settle(
        &mut self,
        attempt: Result<Body, Failure>,
        retries: &mut Retries,
        deadline: Instant,
    ) -> Option<Result<Body, Error>> {
        let attempt = match &mut self.route {
            Some(route) => route.judge(attempt, deadline)?,
            None => attempt,
        };
        let wait = retries.after(&attempt).map(|wait| match &self.route {
            Some(route) if route.has_another() => Duration::ZERO,
            _ => wait,
        });
        match wait {
            Some(wait) if Instant::now() + wait < deadline => {
                tracing::debug!(failure = ?attempt.as_ref().err(), ?wait, "trying again");
                if !matches!(attempt, Err(Failure::Connect(_) | Failure::Unsent(_))) {
                    // The agent may have seen it, whatever comes of the next attempt.
                    retries.keep(match attempt {
                        Ok(Body::Error(error)) => self.remote(error),
                        Ok(other) => self.unexpected("an answer", &other),
                        Err(failure) => self.failed(failure),
                    });
                }
                if !wait.is_zero() {
                    sleep(wait).await;
                }
                None
            }
            no_time_left => {
                let last = match attempt {
                    // That a connection had ended before it was used says nothing.
                    Err(Failure::Unsent(_)) if no_time_left.is_some() => {
                        Err(Failure::TimedOut(Phase::Connecting))
                    }
                    attempt => attempt,
                };
                Some(last.map_err(|failure| match retries.kept() {
                    Some(kept) if failure.is_unsent() => kept,
                    _ => self.failed(failure),
                }))
            }
        }
    }

    pub(super) fn site(&self) -> CallContext {
        self.target.site(self.tool.clone(), Some(self.id.clone()))
    }

    pub(super) fn remote(&self, error: WireError) -> Error {
        Error::from_remote(self.site(), error)
    }

    pub(super) fn unexpected(&self, expected: &'static str, found: &Body) -> Error {
        let found = found.kind().as_str();
        Error::from_protocol(self.site(), ProtocolError::Unexpected { expected, found })
    }

    fn failed(&self, failure: Failure) -> Error {
        let site = self.site();
        match failure {
            Failure::Closed { sent } => Error::ClientClosed {
                site: Box::new(site),
                sent,
            },
            Failure::Connect(source) => Error::ConnectionFailed {
                site: Box::new(site),
                source,
            },
            Failure::TimedOut(phase) => Error::Timeout {
                site: Box::new(site),
                timeout: self.timeout,
                phase,
            },
            Failure::Unsent(error) => Error::from_write(site, error),
            Failure::Broken(source) => Error::from_broken(site, source),
            Failure::Protocol(source) => Error::from_protocol(site, source),
        }
    }

    /// The call got to no instance. Nothing was done.
    fn lost(&self, lost: Lost) -> Error {
        let site = Box::new(self.site());
        match lost {
            Lost::Denied(target, error) => {
                let site = target.site(self.tool.clone(), Some(self.id.clone()));
                Error::from_remote(site, error)
            }
            Lost::Closed => self.failed(Failure::Closed { sent: false }),
            Lost::TimedOut => self.failed(Failure::TimedOut(Phase::Resolving)),
            Lost::Unknown => Error::NotRegistered { site },
            Lost::Unreachable { instances, source } => Error::Unreachable {
                site,
                instances,
                source,
            },
            Lost::Registry(error) => Error::Registry {
                site,
                source: (*error).clone(),
            },
        }
    }
}

/// Tells a log what becomes of a call. What is said in it is nobody's business there.
async fn observed<T>(
    span: Span,
    call: impl Future<Output = Result<T, Error>>,
    refusal: impl Fn(&T) -> Option<&ErrorCode>,
) -> Result<T, Error> {
    if span.is_disabled() {
        return call.await;
    }
    let logged = async {
        let start = Instant::now();
        let result = call.await;
        let elapsed = start.elapsed();
        match &result {
            Ok(answer) => match refusal(answer) {
                None => tracing::debug!(?elapsed, "answered"),
                Some(code) => tracing::debug!(?elapsed, %code, "refused"),
            },
            Err(error) => tracing::debug!(?elapsed, code = %error.code(), "failed"),
        }
        result
    };
    logged.instrument(span).await
}

/// The code of an answer that is an error.
fn refusal(body: &Body) -> Option<&ErrorCode> {
    match body {
        Body::Error(error) => Some(&error.code),
        _ => None,
    }
}
