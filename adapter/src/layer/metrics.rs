//! A layer that reports requests to an observer: [`Metrics`].

use std::{fmt, future::Future, pin::pin, sync::Arc};

use agentwire_codec::{ErrorCode, Map, Message, RequestId, ToolResult};
use async_stream::stream;
use futures_core::Stream;
use futures_util::StreamExt;
use tokio::time::Instant;

use super::{Layer, future::Seen};
use crate::{
    Agent, AgentError, RequestContext, Tool,
    observer::{Observer, Outcome, RequestEvent, Side},
};

/// A layer that reports each request to an [observer](crate::observer), for example to count the
/// requests with `observer::MetricsObserver`.
///
/// A server and a client report their own requests. This layer is for agents that are called
/// within a process, and for one agent among several. Requests that pass an observed server and
/// this layer are reported by both, so use different observers there.
///
/// ```
/// use std::{sync::Arc, time::Duration};
///
/// use agentwire::{
///     Agent, Message, RequestContext, agent_fn,
///     layer::Metrics,
///     observer::{Observer, Outcome, RequestEvent},
/// };
///
/// struct Print;
///
/// impl Observer for Print {
///     fn request_ended(&self, request: &RequestEvent<'_>, outcome: Outcome<'_>, _: Duration) {
///         println!("{} of {}: {}", request.method, request.name, outcome.code());
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), agentwire::AgentError> {
/// let echo = agent_fn("echo", |message: Message| async move { Ok(message) })
///     .layer(Metrics::new(Arc::new(Print)));
/// echo.process(Message::user("hello"), RequestContext::new()).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct Metrics {
    observer: Arc<dyn Observer>,
    side: Side,
}

impl Metrics {
    /// Creates a layer that reports requests like a server.
    pub fn new(observer: Arc<dyn Observer>) -> Self {
        Self {
            observer,
            side: Side::Server,
        }
    }

    /// Sets the side of the reported requests. Use [`Side::Client`] around a
    /// [`RemoteAgent`](crate::RemoteAgent). The default is [`Side::Server`].
    pub fn side(mut self, side: Side) -> Self {
        self.side = side;
        self
    }

    fn start<'a, 'n>(
        &'a self,
        method: &'static str,
        name: &'n str,
        context: &RequestContext,
    ) -> Running<'a, 'n> {
        let running = Running {
            layer: self,
            method,
            name,
            id: context.request_id().clone(),
            start: Instant::now(),
            end: End::Unknown,
        };
        self.observer.request_started(&running.event());
        running
    }
}

/// Reports the end of a request when it is dropped. A request without an answer is cancelled.
struct Running<'a, 'n> {
    layer: &'a Metrics,
    method: &'static str,
    name: &'n str,
    id: RequestId,
    start: Instant,
    end: End,
}

enum End {
    Unknown,
    Ok,
    Failed(ErrorCode),
}

impl Running<'_, '_> {
    /// Reports the outcome of the only answer.
    fn observe<T>(
        mut self,
        work: impl Future<Output = Result<T, AgentError>>,
    ) -> impl Future<Output = Result<T, AgentError>> {
        Seen::new(work, move |answer| self.answered(answer))
    }

    fn event(&self) -> RequestEvent<'_> {
        RequestEvent {
            side: self.layer.side,
            method: self.method,
            name: self.name,
            id: &self.id,
            peer: None,
            connection: None,
        }
    }

    fn answered<T>(&mut self, answer: &Result<T, AgentError>) {
        self.end = match answer {
            Ok(_) => End::Ok,
            Err(error) => End::Failed(error.code().clone()),
        };
    }
}

impl Drop for Running<'_, '_> {
    fn drop(&mut self) {
        let outcome = match &self.end {
            End::Unknown => Outcome::Cancelled,
            End::Ok => Outcome::Ok,
            End::Failed(code) => Outcome::Failed(code),
        };
        let observer = &self.layer.observer;
        observer.request_ended(&self.event(), outcome, self.start.elapsed());
    }
}

impl Layer for Metrics {
    fn process<A: Agent>(
        &self,
        message: Message,
        context: RequestContext,
        next: &Arc<A>,
    ) -> impl Future<Output = Result<Message, AgentError>> + Send {
        let running = self.start("process", next.name(), &context);
        running.observe(next.process(message, context))
    }

    fn stream<A: Agent>(
        &self,
        message: Message,
        context: RequestContext,
        next: &Arc<A>,
    ) -> impl Stream<Item = Result<Message, AgentError>> + Send {
        stream! {
            let mut running = self.start("stream", next.name(), &context);
            let mut answers = pin!(next.stream(message, context));
            while let Some(answer) = answers.next().await {
                if answer.is_err() {
                    running.answered(&answer);
                    drop(running);
                    yield answer;
                    return;
                }
                yield answer;
            }
            running.end = End::Ok;
        }
    }

    fn execute<T: Tool>(
        &self,
        kwargs: Map,
        context: RequestContext,
        next: &Arc<T>,
    ) -> impl Future<Output = Result<ToolResult, AgentError>> + Send {
        let running = self.start("execute", next.name(), &context);
        running.observe(next.execute(kwargs, context))
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics")
            .field("side", &self.side)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use agentwire_transport::internal::Mutex;
    use futures_util::{FutureExt, stream};

    use super::*;
    use crate::{agent_fn, stream_fn, tool_fn};

    #[derive(Default)]
    struct Record(Mutex<Vec<String>>);

    impl Observer for Record {
        fn request_started(&self, request: &RequestEvent<'_>) {
            let (side, name) = (request.side.as_str(), request.name);
            self.0.lock().push(format!("{side} {name} started"));
        }

        fn request_ended(&self, request: &RequestEvent<'_>, outcome: Outcome<'_>, _: Duration) {
            let (method, code) = (request.method, outcome.code());
            self.0.lock().push(format!("{method} {code}"));
        }
    }

    #[tokio::test]
    async fn each_request_is_reported_once_with_its_outcome() {
        let record = Arc::new(Record::default());
        let metrics = Metrics::new(record.clone());
        let agent = agent_fn("a", |message: Message| async move {
            match message.text() {
                Some("hang") => std::future::pending().await,
                Some(code) => Err(AgentError::with_code(code, "no")),
                None => Ok(message),
            }
        });
        let agent = agent.layer(metrics.clone().side(Side::Client));
        let call = |content: agentwire_codec::Value| {
            agent.process(Message::user(content), RequestContext::new())
        };
        call(1.into()).await.unwrap();
        call("NO".into()).await.unwrap_err();
        assert!(call("hang".into()).now_or_never().is_none());
        let streams = stream_fn("s", |message: Message| {
            let last = match message.text() {
                Some(code) => Err(AgentError::with_code(code, "no")),
                None => Ok(Message::agent(2)),
            };
            stream::iter([Ok(Message::agent(1)), last])
        });
        let streams = streams.layer(metrics.clone());
        for content in [agentwire_codec::Value::from(1), "NO".into()] {
            let answers = streams.stream(Message::user(content), RequestContext::new());
            assert_eq!(answers.count().await, 2);
        }
        let answers = streams.stream(Message::user(1), RequestContext::new());
        pin!(answers).next().await.unwrap().unwrap();
        let tool = tool_fn("t", |_: Map| async { Ok(ToolResult::success(1)) });
        let tool = tool.layer(metrics);
        let result = tool.execute(Map::new(), RequestContext::new());
        result.await.unwrap();
        assert_eq!(
            *record.0.lock(),
            [
                "client a started",
                "process OK",
                "client a started",
                "process NO",
                "client a started",
                "process CANCELLED",
                "server s started",
                "stream OK",
                "server s started",
                "stream NO",
                "server s started",
                "stream CANCELLED",
                "server t started",
                "execute OK",
            ]
        );
    }
}
