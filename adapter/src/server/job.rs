use std::{any::Any, future::Future, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use agentwire_codec::{Body, ErrorCode, Map, Message, Response, WireError};
use async_stream::stream;
use futures_core::{Stream, stream::BoxStream};
use futures_util::{FutureExt, StreamExt, future};
use tokio::time::{Instant, timeout};
use tracing::{Instrument, Span};

use crate::{
    agent::{AgentError, DynAgent},
    tool::DynTool,
};

/// The work on one request: it ends in an answer, whatever the agent or tool does.
pub(super) struct Job {
    /// `agent` or `tool`, for what is said about it.
    kind: &'static str,
    name: String,
    span: Span,
    handler_timeout: Option<Duration>,
    start: Instant,
}

impl Job {
    pub(super) fn new(
        kind: &'static str,
        name: &str,
        span: Span,
        handler_timeout: Option<Duration>,
    ) -> Self {
        Self {
            kind,
            name: name.to_owned(),
            span,
            handler_timeout,
            start: Instant::now(),
        }
    }

    pub(super) fn process(
        self,
        agent: Arc<dyn DynAgent>,
        message: Message,
    ) -> impl Stream<Item = Body> + Send {
        let answer = async move {
            let work = async { agent.process(message).await };
            self.done(match self.watch(work).await {
                Ok(Ok(message)) => Response::Message(message).into(),
                Ok(Err(error)) => Body::Error(error.into_wire()),
                Err(error) => Body::Error(error),
            })
        };
        answer.into_stream()
    }

    pub(super) fn execute(
        self,
        tool: Arc<dyn DynTool>,
        kwargs: Map,
    ) -> impl Stream<Item = Body> + Send {
        let answer = async move {
            let work = async { tool.execute(kwargs).await };
            self.done(match self.watch(work).await {
                Ok(Ok(result)) => Response::Tool(result).into(),
                Ok(Err(error)) => Body::Error(tool_failed(error.into_wire())),
                Err(error) => Body::Error(tool_failed(error)),
            })
        };
        answer.into_stream()
    }

    pub(super) fn stream(
        self,
        agent: Arc<dyn DynAgent>,
        message: Message,
    ) -> impl Stream<Item = Body> + Send {
        let mut answers = chunks(agent, message);
        stream! {
            loop {
                let end = match self.watch(answers.next()).await {
                    Ok(Some(Ok(message))) => {
                        yield Body::StreamChunk(message);
                        continue;
                    }
                    Ok(Some(Err(error))) => Body::Error(error.into_wire()),
                    Ok(None) => Body::StreamEnd,
                    Err(error) => Body::Error(error),
                };
                yield self.done(end);
                return;
            }
        }
    }

    /// Waits for work, which may panic or take too long.
    async fn watch<T>(&self, work: impl Future<Output = T> + Send) -> Result<T, WireError> {
        let limited = async {
            match self.handler_timeout {
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
        let elapsed = self.start.elapsed();
        match &end {
            Body::Error(error) => {
                tracing::debug!(parent: &self.span, ?elapsed, code = %error.code, "failed");
            }
            _ => tracing::debug!(parent: &self.span, ?elapsed, "done"),
        }
        end
    }

    fn timed_out(&self, limit: Duration) -> WireError {
        let text = format!(
            "{} {:?} did not answer within {limit:?}",
            self.kind, self.name
        );
        WireError::new(ErrorCode::AGENT_TIMEOUT, text)
    }

    /// The caller learns that it happened; where and why is for the log here.
    fn panicked(&self, panic: &(dyn Any + Send)) -> WireError {
        let cause = panic
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("unknown cause");
        let Self { kind, name, .. } = self;
        tracing::error!(parent: &self.span, %name, cause, "{kind} panicked");
        WireError::new(ErrorCode::INTERNAL_ERROR, format!("{kind} panicked"))
    }
}

/// Asks for the stream only when it is polled, so that a panic in the asking is caught, too.
fn chunks(
    agent: Arc<dyn DynAgent>,
    message: Message,
) -> BoxStream<'static, Result<Message, AgentError>> {
    Box::pin(future::lazy(move |_| agent.stream(message)).flatten_stream())
}

/// A tool's failure has a code of its own, unless the tool chose one.
fn tool_failed(mut error: WireError) -> WireError {
    if error.code == ErrorCode::INTERNAL_ERROR {
        error.code = ErrorCode::TOOL_EXECUTION_FAILED;
    }
    error
}
