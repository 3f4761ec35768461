use std::{any::Any, future::Future, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use agentwire_codec::{Body, ErrorCode, Map, Message, RequestId, Response, WireError};
use async_stream::stream;
use futures_core::{Stream, stream::BoxStream};
use futures_util::{FutureExt, StreamExt, future};
use tokio::time::{Instant, timeout};
use tracing::{Instrument, Span};

use super::panic::panic_text;
use crate::{
    RequestContext,
    agent::{AgentError, DynAgent},
    tool::DynTool,
};

/// The work of an agent or a tool on one request: it ends in an answer, whatever the agent or tool does.
pub(super) struct Job<W: ?Sized> {
    worker: Arc<W>,
    span: Span,
    limit: Option<Duration>,
    /// Known only if somebody wants to know.
    start: Option<Instant>,
}

/// Who works, for what is said about it.
pub(super) trait Worker {
    const KIND: &'static str;
    fn name(&self) -> &str;
}

impl Worker for dyn DynAgent {
    const KIND: &'static str = "agent";

    fn name(&self) -> &str {
        DynAgent::name(self)
    }
}

impl Worker for dyn DynTool {
    const KIND: &'static str = "tool";

    fn name(&self) -> &str {
        DynTool::name(self)
    }
}

impl<W: Worker + ?Sized> Job<W> {
    pub(super) fn new(
        worker: &Arc<W>,
        method: &'static str,
        id: &RequestId,
        limit: Option<Duration>,
    ) -> Self {
        let span = tracing::debug_span!("request", %id, method, name = worker.name());
        Self {
            worker: Arc::clone(worker),
            start: (!span.is_disabled()).then(Instant::now),
            span,
            limit,
        }
    }

    /// Waits for work, which may panic or take too long.
    async fn watch<T>(&self, work: impl Future<Output = T> + Send) -> Result<T, WireError> {
        let limited = async {
            match self.limit {
                Some(limit) => timeout(limit, work)
                    .await
                    .map_err(|_| self.timed_out(limit)),
                None => Ok(work.await),
            }
        };
        // Around all of it: what is dropped when its time is up may panic, too.
        let outcome = AssertUnwindSafe(limited).catch_unwind();
        let outcome = outcome.instrument(self.span.clone()).await;
        outcome.unwrap_or_else(|panic| Err(self.panicked(&*panic)))
    }

    /// Tells a log how it ended.
    fn done(&self, end: Body) -> Body {
        let elapsed = self.start.map(|start| start.elapsed());
        match &end {
            Body::Error(error) => {
                tracing::debug!(parent: &self.span, ?elapsed, code = %error.code, "failed");
            }
            _ => tracing::debug!(parent: &self.span, ?elapsed, "done"),
        }
        end
    }

    fn timed_out(&self, limit: Duration) -> WireError {
        let (kind, name) = (W::KIND, self.worker.name());
        let text = format!("{kind} {name:?} did not answer within {limit:?}");
        WireError::new(ErrorCode::AGENT_TIMEOUT, text)
    }

    /// The caller learns that it happened; where and why is for the log here.
    fn panicked(&self, panic: &(dyn Any + Send)) -> WireError {
        let cause = panic_text(panic);
        let (kind, name) = (W::KIND, self.worker.name());
        tracing::error!(parent: &self.span, %name, cause, "{kind} panicked");
        WireError::new(ErrorCode::INTERNAL_ERROR, format!("{kind} panicked"))
    }
}

impl Job<dyn DynAgent> {
    pub(super) async fn process(self, message: Message, context: RequestContext) -> Body {
        // Within the block, so that a panic in the asking is caught, too.
        let work = async { self.worker.process(message, context).await };
        self.done(match self.watch(work).await {
            Ok(Ok(message)) => Response::Message(message).into(),
            Ok(Err(error)) => Body::Error(error.into_wire()),
            Err(error) => Body::Error(error),
        })
    }

    pub(super) fn stream(
        self,
        message: Message,
        context: RequestContext,
    ) -> impl Stream<Item = Body> + Send {
        let mut answers = chunks(Arc::clone(&self.worker), message, context);
        stream! {
            let end = loop {
                match self.watch(answers.next()).await {
                    Ok(Some(Ok(message))) => yield Body::StreamChunk(message),
                    Ok(Some(Err(error))) => break Body::Error(error.into_wire()),
                    Ok(None) => break Body::StreamEnd,
                    Err(error) => break Body::Error(error),
                }
            };
            // What an agent does on the way out can go wrong, too.
            let end = match self.watch(async move { drop(answers) }).await {
                Ok(()) => end,
                Err(error) => Body::Error(error),
            };
            yield self.done(end);
        }
    }
}

impl Job<dyn DynTool> {
    pub(super) async fn execute(self, kwargs: Map, context: RequestContext) -> Body {
        let work = async { self.worker.execute(kwargs, context).await };
        self.done(match self.watch(work).await {
            Ok(Ok(result)) => Response::Tool(result).into(),
            Ok(Err(error)) => Body::Error(tool_failed(error.into_wire())),
            Err(error) => Body::Error(tool_failed(error)),
        })
    }
}

/// Asks for the stream only when it is polled, so that a panic in the asking is caught, too.
fn chunks(
    agent: Arc<dyn DynAgent>,
    message: Message,
    context: RequestContext,
) -> BoxStream<'static, Result<Message, AgentError>> {
    Box::pin(future::lazy(move |_| agent.stream(message, context)).flatten_stream())
}

/// A tool's failure has a code of its own, unless the tool chose one.
fn tool_failed(mut error: WireError) -> WireError {
    if error.code == ErrorCode::INTERNAL_ERROR {
        error.code = ErrorCode::TOOL_EXECUTION_FAILED;
    }
    error
}
