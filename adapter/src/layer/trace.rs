//! A layer with a span for each request: [`Trace`].

use std::{future::Future, pin::pin, sync::Arc};

use agentwire_codec::{Map, Message, ToolResult};
use async_stream::stream;
use futures_core::Stream;
use futures_util::StreamExt;
use tracing::{Instrument, Span, field};

use super::Layer;
use crate::{Agent, AgentError, RequestContext, Tool, trace};

/// A layer with a span of the level `info` for each request.
///
/// The spans of servers and clients have the level `debug`, so most subscribers filter them out.
/// This layer makes chosen agents visible nevertheless, also those that no server serves. The span
/// `agent` has the fields `name`, `method` and `request_id`, and a failure is logged within it with
/// its code.
///
/// With the feature `opentelemetry`, the span is a child of the span of the request, or of the
/// caller's span if that of the request is filtered out, and calls of the agent carry its context
/// on. Spans never contain contents, metadata or credentials.
///
/// ```
/// use agentwire::{Agent, Message, RequestContext, agent_fn, layer::Trace};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), agentwire::AgentError> {
/// let echo = agent_fn("echo", |message: Message| async move { Ok(message) }).layer(Trace::new());
/// echo.process(Message::user("hello"), RequestContext::new()).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub struct Trace {}

impl Trace {
    /// Creates the layer.
    pub fn new() -> Self {
        Self::default()
    }
}

/// Creates the span of a request, and makes it the parent of the calls of the request.
fn enter(name: &str, method: &'static str, context: &mut RequestContext) -> Span {
    let span = tracing::info_span!(
        "agent",
        name,
        method,
        request_id = %context.request_id(),
        otel.name = field::Empty,
        otel.kind = field::Empty,
    );
    if !span.is_disabled() {
        let trace = trace::enter_layer(&span, context.trace().cloned(), name, method);
        context.set_trace_context(trace);
    }
    span
}

/// Runs a part of a request in its span.
async fn within<T>(
    span: Span,
    trace: &Option<Arc<agentwire_codec::TraceContext>>,
    work: impl Future<Output = T>,
) -> T {
    trace::within(trace, work).instrument(span).await
}

/// Logs the failure of a request.
fn failed(span: &Span, error: &AgentError) {
    let code = error.code();
    trace::failed(span, code.as_str());
    tracing::info!(parent: span, %code, "request failed");
}

impl Layer for Trace {
    async fn process<A: Agent>(
        &self,
        message: Message,
        mut context: RequestContext,
        next: &Arc<A>,
    ) -> Result<Message, AgentError> {
        let span = enter(next.name(), "process", &mut context);
        if span.is_disabled() {
            return next.process(message, context).await;
        }
        let trace = context.trace().cloned();
        let answer = within(span.clone(), &trace, next.process(message, context)).await;
        answer.inspect_err(|error| failed(&span, error))
    }

    fn stream<A: Agent>(
        &self,
        message: Message,
        mut context: RequestContext,
        next: &Arc<A>,
    ) -> impl Stream<Item = Result<Message, AgentError>> + Send {
        stream! {
            let span = enter(next.name(), "stream", &mut context);
            let trace = context.trace().cloned();
            let mut answers = pin!(next.stream(message, context));
            if span.is_disabled() {
                while let Some(answer) = answers.next().await {
                    yield answer;
                }
                return;
            }
            while let Some(answer) = within(span.clone(), &trace, answers.next()).await {
                yield answer.inspect_err(|error| failed(&span, error));
            }
        }
    }

    async fn execute<T: Tool>(
        &self,
        kwargs: Map,
        mut context: RequestContext,
        next: &Arc<T>,
    ) -> Result<ToolResult, AgentError> {
        let span = enter(next.name(), "execute", &mut context);
        if span.is_disabled() {
            return next.execute(kwargs, context).await;
        }
        let trace = context.trace().cloned();
        let result = within(span.clone(), &trace, next.execute(kwargs, context)).await;
        result.inspect_err(|error| failed(&span, error))
    }
}
