//! Runs an agent or a tool for one request.

use std::{future::Future, sync::Arc, time::Duration};

use agentwire_codec::{
    Body, ErrorCode, Map, Message, RequestId, Response, TraceContext, WireError,
};
use agentwire_transport::internal::{Escaped, LogLimit, Untrusted};
use async_stream::stream;
use futures_core::{Stream, stream::BoxStream};
use futures_util::{FutureExt, StreamExt, future};
use tokio::time::Instant;
use tracing::{Span, field};

use super::guard::Guard;
use crate::{
    Error, RequestContext,
    agent::{AgentError, DynAgent},
    tool::DynTool,
    trace,
};

/// A request to an agent or a tool. Every request is answered, even if the handler panics or times
/// out.
///
/// An async function stores its arguments twice, and so does each async function that it calls with
/// them. The futures below therefore lend the arguments to the work, which takes them when it
/// starts. The work is an async block, so that a panic in the method itself is also caught.
pub(super) struct Invocation<H: ?Sized> {
    handler: Arc<H>,
    method: &'static str,
    id: RequestId,
    span: Span,
    limit: Option<Duration>,
    /// The deadline that the caller has sent.
    deadline: Option<Instant>,
    /// The trace context that calls of the handler carry on.
    trace: Option<Arc<TraceContext>>,
    /// Whether replies contain the trace context.
    traces_replies: bool,
    /// The start time for logs, or `None` if the span is disabled.
    start: Option<Instant>,
}

/// An agent or a tool, with its kind and its name for logs and errors.
pub(super) trait Handler {
    const KIND: &'static str;
    fn name(&self) -> &str;
}

impl Handler for dyn DynAgent {
    const KIND: &'static str = "agent";

    fn name(&self) -> &str {
        DynAgent::name(self)
    }
}

impl Handler for dyn DynTool {
    const KIND: &'static str = "tool";

    fn name(&self) -> &str {
        DynTool::name(self)
    }
}

impl<H: Handler + ?Sized> Invocation<H> {
    pub(super) fn new(
        handler: &Arc<H>,
        method: &'static str,
        id: &RequestId,
        limit: Option<Duration>,
    ) -> Self {
        let span = tracing::debug_span!(
            "request",
            %id,
            method,
            name = handler.name(),
            otel.name = field::Empty,
            otel.kind = field::Empty,
        );
        Self {
            handler: Arc::clone(handler),
            method,
            id: id.clone(),
            start: (!span.is_disabled()).then(Instant::now),
            span,
            limit,
            deadline: None,
            trace: None,
            traces_replies: false,
        }
    }

    /// Sets the deadline that the caller has sent.
    pub(super) fn until(mut self, deadline: Option<Instant>) -> Self {
        self.deadline = deadline;
        self
    }

    /// Makes the span of the request a child of the caller's span, and adds the trace context to
    /// the context of the request.
    pub(super) fn traced(
        mut self,
        caller: Option<TraceContext>,
        context: &mut RequestContext,
        traces_replies: bool,
    ) -> Self {
        self.trace = trace::enter(&self.span, caller, self.handler.name(), self.method);
        self.traces_replies = traces_replies;
        context.set_trace_context(self.trace.clone());
        self
    }

    /// Adds the trace context to a reply, if the server is set so.
    fn trace_reply(&self, mut message: Message) -> Message {
        if let (true, Some(trace)) = (self.traces_replies, &self.trace) {
            trace.write_to(&mut message.metadata);
        }
        message
    }

    async fn run<T>(&self, work: impl Future<Output = T> + Send) -> Result<T, WireError> {
        let name = self.handler.name();
        let guard = Guard {
            kind: H::KIND,
            name,
            id: &self.id,
            span: &self.span,
            limit: self.limit_now(),
        };
        let timed_out = |limit| {
            if self
                .deadline
                .is_some_and(|deadline| deadline <= Instant::now())
            {
                let text = format!("{} {name:?} did not answer before the deadline", H::KIND);
                return WireError::new(ErrorCode::AGENT_TIMEOUT, text);
            }
            let text = format!("{} {name:?} did not answer within {limit:?}", H::KIND);
            WireError::new(ErrorCode::AGENT_TIMEOUT, text)
        };
        guard.run(trace::within(&self.trace, work), timed_out).await
    }

    /// Returns the time for the next answer.
    fn limit_now(&self) -> Option<Duration> {
        let left = self
            .deadline
            .map(|at| at.saturating_duration_since(Instant::now()));
        match (self.limit, left) {
            (Some(limit), Some(left)) => Some(limit.min(left)),
            (limit, left) => limit.or(left),
        }
    }

    /// Logs the error of a handler with its sources, and returns the error for the caller, which
    /// contains no sources.
    fn failed(&self, error: AgentError) -> WireError {
        let (name, id, code) = (Untrusted(self.handler.name()), &self.id, error.code());
        let kind = H::KIND;
        let due = is_fault(&error).then(|| FAULTS.record(Instant::now()));
        if let Some(Some(count)) = due {
            tracing::warn!(
                parent: &self.span, %name, %id, %code,
                cause = %Escaped(format_args!("{error:#}")), count, "{kind} failed"
            );
        } else {
            tracing::debug!(
                parent: &self.span, %name, %id, %code,
                cause = %Escaped(format_args!("{error:#}")), "{kind} failed"
            );
        }
        error.into_wire()
    }

    /// Logs the outcome and returns it.
    fn finish(&self, outcome: Body) -> Body {
        let elapsed = self.start.map(|start| start.elapsed());
        if let Body::Error(error) = &outcome {
            let code = &error.code;
            trace::failed(&self.span, code.as_str());
            tracing::debug!(parent: &self.span, ?elapsed, %code, "request failed");
        } else {
            tracing::debug!(parent: &self.span, ?elapsed, "request completed");
        }
        outcome
    }
}

impl Invocation<dyn DynAgent> {
    pub(super) fn process(
        self,
        message: Message,
        context: RequestContext,
    ) -> impl Future<Output = Body> + Send {
        let mut arguments = Some((message, context));
        async move {
            let work = async {
                // Unreachable, because a future starts once.
                let Some((message, context)) = arguments.take() else {
                    return Err(AgentError::new("started twice"));
                };
                self.handler.process(message, context).await
            };
            self.finish(match self.run(work).await {
                Ok(Ok(message)) => Response::Message(self.trace_reply(message)).into(),
                Ok(Err(error)) => Body::Error(self.failed(error)),
                Err(error) => Body::Error(error),
            })
        }
    }

    pub(super) fn stream(
        self,
        message: Message,
        context: RequestContext,
    ) -> impl Stream<Item = Body> + Send {
        let mut chunks = chunks(Arc::clone(&self.handler), message, context);
        stream! {
            let end = loop {
                match self.run(chunks.next()).await {
                    Ok(Some(Ok(message))) => yield Body::StreamChunk(message),
                    Ok(Some(Err(error))) => break Body::Error(self.failed(error)),
                    Ok(None) => break Body::StreamEnd,
                    Err(error) => break Body::Error(error),
                }
            };
            // Dropping the agent's stream may also panic.
            let end = match self.run(async move { drop(chunks) }).await {
                Ok(()) => end,
                Err(error) => Body::Error(error),
            };
            yield self.finish(end);
        }
    }
}

impl Invocation<dyn DynTool> {
    pub(super) fn execute(
        self,
        kwargs: Map,
        context: RequestContext,
    ) -> impl Future<Output = Body> + Send {
        let mut arguments = Some((kwargs, context));
        async move {
            let work = async {
                // Unreachable, because a future starts once.
                let Some((kwargs, context)) = arguments.take() else {
                    return Err(AgentError::new("started twice"));
                };
                self.handler.execute(kwargs, context).await
            };
            self.finish(match self.run(work).await {
                Ok(Ok(result)) => Response::Tool(result).into(),
                Ok(Err(error)) => Body::Error(tool_failed(self.failed(error))),
                Err(error) => Body::Error(tool_failed(error)),
            })
        }
    }
}

/// Calls [`Agent::stream`](crate::Agent::stream) at the first poll, so that a panic in the method
/// is caught.
fn chunks(
    agent: Arc<dyn DynAgent>,
    message: Message,
    context: RequestContext,
) -> BoxStream<'static, Result<Message, AgentError>> {
    Box::pin(future::lazy(move |_| agent.stream(message, context)).flatten_stream())
}

/// Returns whether an error is a fault in this process. An error code that the handler chose and an
/// error that another agent sent are not faults.
fn is_fault(error: &AgentError) -> bool {
    let is_own = error.source().is_some() || *error.code() == ErrorCode::INTERNAL_ERROR;
    is_own && !error.call_error().is_some_and(Error::is_remote)
}

/// Replaces the generic code `INTERNAL_ERROR` with the code of a failed tool.
fn tool_failed(mut error: WireError) -> WireError {
    if error.code == ErrorCode::INTERNAL_ERROR {
        error.code = ErrorCode::TOOL_EXECUTION_FAILED;
    }
    error
}

/// The rate is limited because a caller may be able to cause any number of failures.
static FAULTS: LogLimit = LogLimit::new();

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent_fn;

    /// The future of each request is moved to the heap, so its size is a part of the cost of a
    /// call.
    #[test]
    fn the_future_of_a_request_holds_its_arguments_once() {
        let agent: Arc<dyn DynAgent> =
            Arc::new(agent_fn("echo", |message: Message| async { Ok(message) }));
        let invocation = Invocation::new(&agent, "process", &RequestId::random(), None);
        let arguments = size_of::<(Message, RequestContext)>();
        let most = arguments + size_of_val(&invocation) + 768;
        let future = invocation.process(Message::user("hi"), RequestContext::new());
        let size = size_of_val(&future);
        assert!(size < most, "{size} of {most}");
    }
}
