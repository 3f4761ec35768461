//! A call: one request with all of its attempts.
//!
//! Only this layer converts a [`Failure`] into an [`Error`].

mod delivery;
mod errors;
mod retry;
mod total_limit;
mod trace;

use std::{pin::pin, sync::Arc, time::Duration};

use agentwire_codec::{Body, ErrorCode, Heartbeat, RequestId, WireError};
use agentwire_transport::internal::MAX_TIMEOUT;
use tokio::time::{Instant, sleep};
use tracing::{Span, field};

pub(super) use self::total_limit::TotalLimit;
use self::{
    retry::RetryBudget,
    trace::{refusal, traced},
};
use super::{
    channel::{
        Answers,
        failure::Failure,
        request::{InvalidRequest, Request},
    },
    config::CallOptions,
    retry_policy::RetryPolicy,
    router::{Destination, NoRoute, Router, Verdict},
    shared::Client,
    stats::Counted,
};
use crate::{
    CallContext, Error,
    error::{Phase, ProtocolError},
    observer::{Outcome, error_code},
};

/// A call with its request, router, timeout and retry policy.
#[derive(Debug)]
pub(super) struct Call {
    client: Arc<Client>,
    router: Router,
    request: Request,
    timeout: Duration,
    /// The retry policy of this call, or `None` to use the policy of the client.
    retry: Option<RetryPolicy>,
    _in_flight: Counted,
    /// The span of the call, if the request contains its trace context.
    span: Option<Span>,
    /// The start of the call, if an observer must be told of its end.
    observed: Option<Instant>,
}

impl Call {
    /// Creates a call that receives one answer or a stream of answers.
    ///
    /// The constructor encodes the request, so an invalid request fails before anything is sent.
    pub(super) fn new(
        client: &Arc<Client>,
        destination: &Destination,
        body: impl Into<Body>,
        options: &CallOptions,
    ) -> Result<Self, Error> {
        let mut body = body.into();
        prepare_for_peer(client, destination, &mut body)?;
        client.config.put_credential(&mut body);
        let traced = delivery::prepare(&mut body, &client.config, destination, options);
        let request = Request::new(body, &client.config, destination.endpoint());
        let request = request.map(|request| request.traced(traced.context));
        let mut call = Self::with_request(client, destination, request, options)?;
        let span = traced.span;
        if let Some(span) = &span {
            span.record("id", field::display(&call.request.id));
        }
        call.span = span;
        Ok(call)
    }

    /// Creates a call that forwards a request under the id that its sender chose. Different senders
    /// may choose the same id, so the call needs its own connection.
    pub(super) fn forwarded(
        client: &Arc<Client>,
        destination: &Destination,
        id: RequestId,
        mut body: Body,
    ) -> Result<Self, Error> {
        prepare_for_peer(client, destination, &mut body)?;
        client.config.put_credential(&mut body);
        let request = Request::forwarded(id, body, &client.config);
        Self::with_request(client, destination, request, &CallOptions::new())
    }

    /// Creates a ping, which checks whether the server is alive.
    pub(super) fn new_ping(client: &Arc<Client>, destination: &Destination) -> Result<Self, Error> {
        let mut heartbeat = Heartbeat::healthy(client.config.name.as_str()).into();
        client.config.put_credential(&mut heartbeat);
        let request = Request::ping(heartbeat, &client.config);
        Self::with_request(client, destination, request, &CallOptions::new())
    }

    fn with_request(
        client: &Arc<Client>,
        destination: &Destination,
        request: Result<Request, InvalidRequest>,
        options: &CallOptions,
    ) -> Result<Self, Error> {
        let request = request.map_err(|invalid| Error::Encode {
            context: Box::new(CallContext {
                agent: client.config.name.clone(),
                tool: invalid.tool,
                endpoint: destination.endpoint().cloned(),
                request_id: None,
            }),
            source: invalid.source,
        })?;
        let retry = options.retry.as_ref().unwrap_or(&client.config.retry);
        let observed = client.observed.as_ref().map(|observed| {
            let event = observed.event(request.method, &request.id);
            observed.observer.request_started(&event);
            Instant::now()
        });
        Ok(Self {
            span: None,
            observed,
            _in_flight: client.counters.in_flight(),
            router: destination.router(client, retry.retries_connect()),
            client: Arc::clone(client),
            request,
            timeout: options
                .timeout
                .unwrap_or(client.config.timeout)
                .min(MAX_TIMEOUT),
            retry: options.retry.clone(),
        })
    }

    /// Applies the total timeout to a call with a single answer.
    pub(super) fn limit(mut self, total: Option<Duration>) -> Self {
        self.timeout = total.map_or(self.timeout, |total| total.min(self.timeout));
        self
    }

    /// Sends the request and waits for its only answer.
    pub(super) async fn run(&mut self) -> Result<Body, Error> {
        let _awaited_on_close = self.client.calls.token();
        let span = self.span();
        let result = traced(span, pin!(self.run_until_settled()), refusal).await;
        match &result {
            Ok(answer) => self.answered(answer),
            Err(error) => self.ended_with(error),
        }
        result
    }

    async fn run_until_settled(&mut self) -> Result<Body, Error> {
        // A call with one answer runs as soon as it has been created.
        let start = self.observed.unwrap_or_else(Instant::now);
        let deadline = start + self.timeout;
        let mut retries = self.retries();
        loop {
            let attempt = match self.router.next(&self.client, deadline).await {
                Ok(route) => route.channel.call(&self.request, route.deadlines).await,
                Err(no_route) => return Err(self.unrouted(no_route, &mut retries)),
            };
            match self.conclude(attempt, &mut retries, deadline).await {
                Verdict::Settled(result) => return result,
                Verdict::TryAgain => {}
            }
        }
    }

    /// Sends the request and waits for the first answer. An error answer is returned as `Err`.
    pub(super) async fn open(
        &mut self,
        limit: Option<TotalLimit>,
    ) -> Result<(Answers, Body), Error> {
        let span = self.span();
        let closed = self.client.closed.clone();
        let opened = {
            let opening = pin!(async {
                tokio::select! {
                    biased;
                    () = closed.cancelled() => Err(self.failed(Failure::Closed { sent: true })),
                    opened = self.open_until_settled(limit) => opened,
                }
            });
            traced(span, opening, |_| None).await
        };
        if let Err(error) = &opened {
            self.ended_with(error);
        }
        opened
    }

    async fn open_until_settled(
        &mut self,
        limit: Option<TotalLimit>,
    ) -> Result<(Answers, Body), Error> {
        let deadline = self.next_deadline(limit);
        let mut retries = self.retries();
        loop {
            let attempt = match self.router.next(&self.client, deadline).await {
                Ok(route) => route.channel.open(&self.request, route.deadlines).await,
                Err(no_route) => {
                    let error = self.unrouted(no_route, &mut retries);
                    return Err(total_limit::applied_to(error, limit));
                }
            };
            let attempt = match attempt {
                Ok((answers, Body::Error(error))) => {
                    // No chunk follows an error, so other calls can use the connection.
                    answers.finish();
                    Ok(Body::Error(error))
                }
                Ok(opened) => {
                    self.router.answered();
                    return Ok(opened);
                }
                Err(failure) => Err(failure),
            };
            match self.conclude(attempt, &mut retries, deadline).await {
                Verdict::TryAgain => {}
                Verdict::Settled(Ok(Body::Error(error))) => return Err(self.remote(error)),
                Verdict::Settled(Ok(other)) => return Err(self.unexpected("an answer", &other)),
                Verdict::Settled(Err(error)) => return Err(total_limit::applied_to(error, limit)),
            }
        }
    }

    /// Sends the request and waits for any response. If the server closes the connection, that
    /// counts as a response.
    pub(super) async fn ping(&mut self) -> Result<(), Error> {
        let _awaited_on_close = self.client.calls.token();
        let span = self.span();
        let result = traced(span, pin!(self.ping_until_settled()), |()| None).await;
        match &result {
            Ok(()) => self.answered(&Body::StreamEnd),
            Err(error) => self.ended_with(error),
        }
        result
    }

    async fn ping_until_settled(&mut self) -> Result<(), Error> {
        let deadline = Instant::now() + self.timeout;
        let mut retries = self.retries();
        loop {
            let attempt = match self.router.next(&self.client, deadline).await {
                Ok(route) => route.channel.ping(&self.request, route.deadlines).await,
                Err(no_route) => return Err(self.unrouted(no_route, &mut retries)),
            };
            let failure = match attempt {
                Ok(answer) => {
                    self.router.answered();
                    return match answer {
                        Some(Body::Error(error)) if is_refused_ping(&error) => {
                            Err(self.remote(error))
                        }
                        _ => Ok(()),
                    };
                }
                Err(failure) => failure,
            };
            match self.conclude(Err(failure), &mut retries, deadline).await {
                Verdict::Settled(result) => return result.map(drop),
                Verdict::TryAgain => {}
            }
        }
    }

    /// Waits for the next answer in a stream.
    pub(super) async fn next(
        &self,
        answers: &mut Answers,
        limit: Option<TotalLimit>,
    ) -> Result<Body, Error> {
        let deadline = self.next_deadline(limit);
        let failure = if limit.is_some_and(|limit| limit.is_over()) {
            // The limit also applies to chunks that have already arrived.
            Failure::TimedOut(Phase::Receiving)
        } else {
            tokio::select! {
                biased;
                () = self.client.closed.cancelled() => Failure::Closed { sent: true },
                answer = answers.next(&self.request.id, deadline) => match answer {
                    Ok(body) => return Ok(body),
                    Err(failure) => failure,
                },
            }
        };
        Err(total_limit::applied_to(self.failed(failure), limit))
    }

    /// Tells the observer that `answer` is the last answer.
    pub(super) fn answered(&mut self, answer: &Body) {
        if self.observed.is_some() {
            let code = error_code(answer);
            self.report_end(code.as_deref().map_or(Outcome::Ok, Outcome::Failed));
        }
    }

    /// Tells the observer that the call failed.
    pub(super) fn ended_with(&mut self, error: &Error) {
        if self.observed.is_some() {
            self.report_end(Outcome::Failed(&error.code()));
        }
    }

    /// Tells the observer once how the call ended.
    fn report_end(&mut self, outcome: Outcome<'_>) {
        if let (Some(start), Some(observed)) = (self.observed.take(), &self.client.observed) {
            let event = observed.event(self.request.method, &self.request.id);
            let observer = &observed.observer;
            observer.request_ended(&event, outcome, start.elapsed());
        }
    }

    fn span(&self) -> Span {
        if let Some(span) = &self.span {
            return span.clone();
        }
        delivery::span(
            self.router.endpoint(),
            &self.client.config,
            self.request.method,
            Some(&self.request.id),
        )
    }

    fn retries(&self) -> RetryBudget {
        RetryBudget::new(self.retry.as_ref().unwrap_or(&self.client.config.retry))
    }

    fn next_deadline(&self, limit: Option<TotalLimit>) -> Instant {
        let next = Instant::now() + self.timeout;
        limit.map_or(next, |limit| limit.at.min(next))
    }

    /// Decides whether the result of an attempt settles the call. If the call needs another
    /// attempt, waits until the next attempt is due.
    async fn conclude(
        &mut self,
        attempt: Result<Body, Failure>,
        retries: &mut RetryBudget,
        deadline: Instant,
    ) -> Verdict<Result<Body, Error>> {
        let attempt = match self.router.report(attempt, deadline) {
            Verdict::Settled(attempt) => attempt,
            Verdict::TryAgain => return Verdict::TryAgain,
        };
        let delay = retries.delay_after(&attempt).map(|delay| {
            if self.router.has_another() {
                Duration::ZERO
            } else {
                delay
            }
        });
        let until = match &attempt {
            Err(Failure::Connect(_)) => self.router.connect_until(),
            _ => None,
        };
        let until = until.map_or(deadline, |until| until.min(deadline));
        match delay {
            Some(delay) if Instant::now() + delay < until => {
                tracing::debug!(failure = ?attempt.as_ref().err(), ?delay, "retrying");
                if let Some(observed) = &self.client.observed {
                    observed.observer.call_retried(&observed.agent);
                }
                let attempt = match attempt {
                    Err(Failure::Connect(error)) => {
                        if !delay.is_zero() {
                            self.router.pause(delay, &error).await;
                        }
                        retries.keep_connect(error);
                        return Verdict::TryAgain;
                    }
                    attempt => attempt,
                };
                if !matches!(attempt, Err(Failure::Unsent(_))) {
                    // The agent may have seen the request. If no later attempt reaches the agent,
                    // the call fails with the error of the current attempt.
                    retries.keep(match attempt {
                        Ok(Body::Error(error)) => self.remote(error),
                        Ok(other) => self.unexpected("an answer", &other),
                        Err(failure) => self.failed(failure),
                    });
                }
                if !delay.is_zero() {
                    sleep(delay).await;
                }
                Verdict::TryAgain
            }
            no_time_left => {
                let last = match attempt {
                    // There is no time left to open a new connection.
                    Err(Failure::Unsent(_)) if no_time_left.is_some() => {
                        Err(Failure::TimedOut(Phase::Connecting))
                    }
                    attempt => attempt,
                };
                Verdict::Settled(last.map_err(|failure| match retries.take_last_sent() {
                    Some(kept) if failure.is_unsent() => kept,
                    _ => errors::with_connect_error(self.failed(failure), retries),
                }))
            }
        }
    }

    /// Converts an error answer into an [`Error`].
    pub(super) fn remote(&self, error: WireError) -> Error {
        Error::from_remote(self.context(), error)
    }

    /// Returns the error for an error answer to a method that other servers may not know.
    pub(super) fn remote_method(&self, error: WireError) -> Error {
        Error::from_remote_method(self.context(), error)
    }

    /// Returns the error for an answer of an unexpected kind.
    pub(super) fn unexpected(&self, expected: &'static str, found: &Body) -> Error {
        let found = found.kind().as_str();
        Error::from_protocol(
            self.context(),
            ProtocolError::Unexpected { expected, found },
        )
    }

    fn context(&self) -> CallContext {
        CallContext {
            agent: self.client.config.name.clone(),
            tool: self.request.tool.clone(),
            endpoint: self.router.endpoint().cloned(),
            request_id: Some(self.request.id.clone()),
        }
    }

    fn failed(&self, failure: Failure) -> Error {
        errors::of_failure(self.context(), self.timeout, failure)
    }

    /// Returns the error of a call for which no instance could be chosen. If the agent may have
    /// seen an earlier attempt, returns the error of that attempt.
    fn unrouted(&self, no_route: NoRoute, retries: &mut RetryBudget) -> Error {
        let kept = retries.take_last_sent();
        kept.unwrap_or_else(|| errors::of_no_route(self.context(), self.timeout, no_route))
    }
}

/// A call without an outcome was dropped by its caller.
impl Drop for Call {
    fn drop(&mut self) {
        self.report_end(Outcome::Cancelled);
    }
}

/// Checks that the kind of server that the client calls can read a request.
fn prepare_for_peer(
    client: &Client,
    destination: &Destination,
    body: &mut Body,
) -> Result<(), Error> {
    let peer = client.config.peer;
    peer.prepare(body)
        .map_err(|unreadable| Error::UnreadableByPeer {
            context: Box::new(CallContext {
                agent: client.config.name.clone(),
                tool: None,
                endpoint: destination.endpoint().cloned(),
                request_id: None,
            }),
            peer,
            key: unreadable.key,
            found: unreadable.found,
        })
}

/// Returns whether the server refused a ping because of its sender. Any other error shows that the
/// server would answer the requests of this client.
fn is_refused_ping(error: &WireError) -> bool {
    [
        ErrorCode::UNAUTHENTICATED,
        ErrorCode::PERMISSION_DENIED,
        ErrorCode::RATE_LIMITED,
    ]
    .contains(&error.code)
}
