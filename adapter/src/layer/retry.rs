//! A layer that repeats failed requests: [`Retry`].

use std::{fmt, future::Future, pin::pin, sync::Arc, time::Duration};

use agentwire_codec::{Map, Message, ToolResult};
use agentwire_transport::internal::{Backoff, MAX_TIMEOUT};
use async_stream::stream;
use futures_core::Stream;
use futures_util::StreamExt;
use tokio::time::{Instant, sleep};

use super::{
    Layer,
    budget::Budget,
    fault::{is_retryable, is_transient},
    future::OrElse,
    target::Target,
};
use crate::{Agent, AgentError, RequestContext, Tool, observer::Observers};

/// A layer that repeats failed requests.
///
/// A request is repeated if that is safe and may help, as [`Error::is_retryable`] says: if it was
/// never sent, or was refused because the agent is not available or a rate is exceeded. If a
/// request is [idempotent](Self::idempotent), it is also repeated if the connection is lost or the
/// answer takes too long. Other errors are answers, and are never repeated. A stream is repeated
/// only before its first chunk.
///
/// The delays double from 100 ms to 10 s and are randomly shortened by up to one half. If the error
/// has the detail `retry_after_ms`, the delay is at least as long. The error is returned at once if
/// the delay would end after the deadline of the request, or if the agent asks for more than the
/// longest delay.
///
/// A budget bounds the load while an agent fails: at most 20 % of the requests, and 10 in reserve,
/// are repeated.
///
/// A [`RemoteAgent`](crate::RemoteAgent) also retries, by its
/// [`RetryPolicy`](crate::RetryPolicy), and the attempts multiply. Use
/// [`RetryPolicy::never`](crate::RetryPolicy::never) in a client with this layer.
///
/// ```
/// use std::time::Duration;
///
/// use agentwire::{Agent, RemoteAgent, RetryPolicy, layer::Retry};
///
/// let retry = Retry::new()
///     .times(2)
///     .backoff(Duration::from_millis(50), Duration::from_secs(1))
///     .idempotent(|message| message.metadata["method"] == "search");
/// let remote = RemoteAgent::builder("unix:///run/agents/search.sock")
///     .retry(RetryPolicy::never())
///     .build()?
///     .layer(retry);
/// # Ok::<(), agentwire::Error>(())
/// ```
///
/// [`Error::is_retryable`]: crate::Error::is_retryable
#[must_use]
pub struct Retry {
    times: u32,
    first: Duration,
    longest: Duration,
    idempotent: Option<Box<MessageFilter>>,
    idempotent_tools: Option<Box<ToolFilter>>,
    budget: Budget,
}

type MessageFilter = dyn Fn(&Message) -> bool + Send + Sync;
type ToolFilter = dyn Fn(&str, &Map) -> bool + Send + Sync;

impl Default for Retry {
    fn default() -> Self {
        Self {
            times: 3,
            first: Duration::from_millis(100),
            longest: Duration::from_secs(10),
            idempotent: None,
            idempotent_tools: None,
            budget: Budget::new(DEFAULT_PERCENT, DEFAULT_RESERVE),
        }
    }
}

impl Retry {
    /// Creates a layer that repeats a request up to three times.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how many times a request is repeated. The default is 3.
    pub fn times(mut self, times: u32) -> Self {
        self.times = times;
        self
    }

    /// Sets the first and the longest delay. The defaults are 100 ms and 10 s. The minimum for both
    /// is 1 ms. The longest delay also bounds the time for which an agent may ask with
    /// `retry_after_ms`.
    pub fn backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.first = first.clamp(Duration::from_millis(1), MAX_TIMEOUT);
        self.longest = longest.clamp(self.first, MAX_TIMEOUT);
        self
    }

    /// Sets which messages an agent may process twice without harm. By default, there are none.
    pub fn idempotent(mut self, filter: impl Fn(&Message) -> bool + Send + Sync + 'static) -> Self {
        self.idempotent = Some(Box::new(filter));
        self
    }

    /// Sets which tools may be executed twice without harm, by name and arguments. By default,
    /// there are none.
    pub fn idempotent_tools(
        mut self,
        filter: impl Fn(&str, &Map) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.idempotent_tools = Some(Box::new(filter));
        self
    }

    /// Sets how many requests may be repeated: a percentage of all requests, and a reserve. The
    /// defaults are 20 % and 10 requests.
    pub fn budget(mut self, percent: u32, reserve: u32) -> Self {
        self.budget = Budget::new(percent, reserve);
        self
    }

    /// Returns the attempts of a request that has failed once.
    fn attempts(&self, context: &RequestContext, is_idempotent: bool) -> Attempts<'_> {
        Attempts {
            left: self.times,
            backoff: Backoff::new(self.first, self.longest),
            longest: self.longest,
            is_idempotent,
            deadline: context.deadline(),
            observers: context.observers().clone(),
            budget: &self.budget,
        }
    }

    fn is_idempotent(&self, message: &Message) -> bool {
        self.idempotent
            .as_ref()
            .is_some_and(|filter| filter(message))
    }
}

/// The attempts of one request.
struct Attempts<'a> {
    left: u32,
    backoff: Backoff,
    longest: Duration,
    is_idempotent: bool,
    deadline: Option<Instant>,
    observers: Observers,
    budget: &'a Budget,
}

impl Attempts<'_> {
    /// Waits until the request may be repeated.
    ///
    /// # Errors
    ///
    /// Returns the error if the request must not be repeated.
    async fn wait_after(
        &mut self,
        error: AgentError,
        target: Target<'_>,
    ) -> Result<(), AgentError> {
        let may_help = if self.is_idempotent {
            is_transient(&error)
        } else {
            is_retryable(&error)
        };
        if !may_help || self.left == 0 {
            return Err(error);
        }
        let asked = retry_after(&error);
        // Without a deadline, the agent would decide how long the caller waits.
        if asked > self.longest {
            return Err(error);
        }
        let delay = self.backoff.next_delay().max(asked);
        let is_in_time = |deadline| Instant::now() + delay < deadline;
        if !self.deadline.is_none_or(is_in_time) || !self.budget.withdraw() {
            return Err(error);
        }
        self.left -= 1;
        self.observers.layer_acted("retry", "repeated", target.name);
        tracing::debug!(%target, code = %error.code(), ?delay, "request is repeated");
        sleep(delay).await;
        Ok(())
    }

    /// Repeats a request that has failed once.
    async fn run<T, F>(
        mut self,
        mut error: AgentError,
        target: Target<'_>,
        attempt: impl Fn() -> F,
    ) -> Result<T, AgentError>
    where
        F: Future<Output = Result<T, AgentError>>,
    {
        loop {
            self.wait_after(error, target).await?;
            error = match attempt().await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
        }
    }
}

impl Layer for Retry {
    fn process<A: Agent>(
        &self,
        message: Message,
        context: RequestContext,
        next: &Arc<A>,
    ) -> impl Future<Output = Result<Message, AgentError>> + Send {
        self.budget.deposit();
        let first = next.process(message.clone(), context.clone());
        OrElse::new(first, move |error| async move {
            let attempts = self.attempts(&context, self.is_idempotent(&message));
            let attempt = || next.process(message.clone(), context.clone());
            attempts.run(error, Target::agent(next), attempt).await
        })
    }

    fn stream<A: Agent>(
        &self,
        message: Message,
        context: RequestContext,
        next: &Arc<A>,
    ) -> impl Stream<Item = Result<Message, AgentError>> + Send {
        stream! {
            self.budget.deposit();
            let mut attempts = self.attempts(&context, self.is_idempotent(&message));
            let end = loop {
                let first = {
                    let mut answers = pin!(next.stream(message.clone(), context.clone()));
                    match answers.next().await {
                        Some(Ok(answer)) => {
                            yield Ok(answer);
                            while let Some(answer) = answers.next().await {
                                yield answer;
                            }
                            return;
                        }
                        Some(Err(error)) => error,
                        None => return,
                    }
                };
                if let Err(error) = attempts.wait_after(first, Target::agent(next)).await {
                    break error;
                }
            };
            yield Err(end);
        }
    }

    fn execute<T: Tool>(
        &self,
        kwargs: Map,
        context: RequestContext,
        next: &Arc<T>,
    ) -> impl Future<Output = Result<ToolResult, AgentError>> + Send {
        self.budget.deposit();
        let first = next.execute(kwargs.clone(), context.clone());
        OrElse::new(first, move |error| async move {
            let filter = self.idempotent_tools.as_ref();
            let is_idempotent = filter.is_some_and(|filter| filter(next.name(), &kwargs));
            let attempts = self.attempts(&context, is_idempotent);
            let attempt = || next.execute(kwargs.clone(), context.clone());
            attempts.run(error, Target::tool(next), attempt).await
        })
    }
}

/// Returns the time for which an agent asks its callers to wait.
fn retry_after(error: &AgentError) -> Duration {
    let millis = error.details().get("retry_after_ms");
    let millis = millis.and_then(agentwire_codec::Value::as_u64);
    Duration::from_millis(millis.unwrap_or(0)).min(MAX_TIMEOUT)
}

impl fmt::Debug for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry")
            .field("times", &self.times)
            .field("first", &self.first)
            .field("longest", &self.longest)
            .field("budget", &self.budget)
            .finish_non_exhaustive()
    }
}

const DEFAULT_PERCENT: u32 = 20;
const DEFAULT_RESERVE: u32 = 10;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    use agentwire_codec::{ErrorCode, map};
    use futures_util::stream;

    use super::*;
    use crate::{CallContext, Error, agent_fn, stream_fn, tool_fn};

    fn unavailable() -> AgentError {
        AgentError::with_code(ErrorCode::AGENT_UNAVAILABLE, "later")
    }

    fn connection_closed(sent: bool) -> AgentError {
        let context = Box::new(CallContext {
            agent: "flaky".to_owned(),
            tool: None,
            endpoint: None,
            request_id: None,
        });
        AgentError::from(Error::ConnectionClosed {
            context,
            sent,
            source: None,
        })
    }

    /// Calls an agent that fails a number of times. Returns the number of attempts and the result.
    async fn attempts(
        retry: Retry,
        failures: u32,
        error: fn() -> AgentError,
    ) -> (u32, Result<Message, AgentError>) {
        let count = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&count);
        let agent = agent_fn("flaky", move |message: Message| {
            let fails = counter.fetch_add(1, Relaxed) < failures;
            std::future::ready(if fails { Err(error()) } else { Ok(message) })
        });
        let context = RequestContext::new();
        let result = agent.layer(retry).process(Message::user(1), context).await;
        (count.load(Relaxed), result)
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_is_safe_is_repeated() {
        let never = |_: &Message| false;
        let always = |_: &Message| true;
        type Case = (fn() -> AgentError, u32, u32);
        let cases: [Case; 7] = [
            (unavailable, 3, 3),
            (
                || AgentError::with_code(ErrorCode::RATE_LIMITED, "later"),
                3,
                3,
            ),
            (|| connection_closed(false), 3, 3),
            (|| connection_closed(true), 1, 3),
            (
                || AgentError::with_code(ErrorCode::AGENT_TIMEOUT, "slow"),
                1,
                3,
            ),
            (|| AgentError::new("a bug"), 1, 1),
            (|| AgentError::with_code("TEXT_ONLY", "an answer"), 1, 1),
        ];
        for (error, once, idempotent) in cases {
            let (count, result) = attempts(Retry::new().idempotent(never), 2, error).await;
            assert_eq!((count, result.is_ok()), (once, once == 3), "{:?}", error());
            let (count, _) = attempts(Retry::new().idempotent(always), 2, error).await;
            assert_eq!(count, idempotent, "{:?}", error());
        }
        let (count, result) = attempts(Retry::new(), 9, unavailable).await;
        assert_eq!((count, result.unwrap_err().message()), (4, "later"));
    }

    #[tokio::test(start_paused = true)]
    async fn delays_double_within_their_jitter_and_honour_retry_after() {
        let start = Instant::now();
        attempts(Retry::new(), 3, unavailable).await.1.unwrap();
        let elapsed = start.elapsed();
        let (low, high) = (Duration::from_millis(350), Duration::from_millis(705));
        assert!(low <= elapsed && elapsed <= high, "{elapsed:?}");
        let start = Instant::now();
        let busy = || unavailable().with_details(map! {"retry_after_ms": 5000});
        attempts(Retry::new(), 2, busy).await.1.unwrap();
        assert_eq!(start.elapsed().as_secs(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn an_agent_that_asks_for_more_than_the_longest_delay_is_not_waited_for() {
        let start = Instant::now();
        let patient = || unavailable().with_details(map! {"retry_after_ms": 10_000});
        attempts(Retry::new(), 1, patient).await.1.unwrap();
        assert_eq!(start.elapsed().as_secs(), 10);
        let start = Instant::now();
        for error in [
            || unavailable().with_details(map! {"retry_after_ms": 10_001}),
            || unavailable().with_details(map! {"retry_after_ms": (u64::MAX)}),
        ] {
            let (count, result) = attempts(Retry::new(), 1, error).await;
            assert_eq!((count, result.unwrap_err().message()), (1, "later"));
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_repeated_beyond_the_deadline_or_the_budget() {
        let agent = agent_fn("down", |_: Message| std::future::ready(Err(unavailable())));
        let agent = agent.layer(Retry::new().times(1000).budget(0, 2));
        let start = Instant::now();
        let context = RequestContext::new().with_deadline(start + Duration::from_millis(20));
        agent.process(Message::user(1), context).await.unwrap_err();
        assert_eq!(start.elapsed(), Duration::ZERO);
        agent
            .process(Message::user(1), RequestContext::new())
            .await
            .unwrap_err();
        // Two delays.
        assert!(
            start.elapsed() <= Duration::from_millis(305),
            "{:?}",
            start.elapsed()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_is_repeated_only_before_its_first_chunk() {
        for (chunks, attempts) in [(0, 3), (1, 1)] {
            let count = Arc::new(AtomicU32::new(0));
            let counter = Arc::clone(&count);
            let agent = stream_fn("flaky", move |message: Message| {
                let fails = counter.fetch_add(1, Relaxed) < 2;
                let chunks = 0..if fails { chunks } else { 2 };
                let good = stream::iter(chunks.map(move |_| Ok(message.clone())));
                good.chain(stream::iter(fails.then(|| Err(unavailable()))))
            });
            let agent = agent.layer(Retry::new());
            let answers = agent.stream(Message::user(1), RequestContext::new());
            let answers: Vec<_> = answers.collect().await;
            assert_eq!((count.load(Relaxed), answers.len()), (attempts, 2));
            assert_eq!(answers[1].is_ok(), chunks == 0);
        }
        let count = AtomicU32::new(0);
        let tool = tool_fn("flaky", move |_: Map| {
            let fails = count.fetch_add(1, Relaxed) < 2;
            let result = Ok(ToolResult::success(1));
            std::future::ready(if fails {
                Err(connection_closed(true))
            } else {
                result
            })
        });
        let tool = tool.layer(Retry::new().idempotent_tools(|name, _| name == "flaky"));
        tool.execute(Map::new(), RequestContext::new())
            .await
            .unwrap();
    }
}
