//! A layer that limits how long answers take: [`Timeout`].

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use agentwire_codec::{ErrorCode, Map, Message, ToolResult};
use agentwire_transport::internal::MAX_TIMEOUT;
use async_stream::stream;
use futures_core::Stream;
use futures_util::StreamExt;
use pin_project_lite::pin_project;
use tokio::time::Instant;

use super::{Layer, target::Target};
use crate::{
    Agent, AgentError, RequestContext, Tool, deadline_timer::DeadlineTimer, observer::Observers,
};

/// A layer that limits how long answers take.
///
/// `total` limits a whole request, and `idle` limits the time without an answer: the time to the
/// only answer, to the first chunk of a stream, or between two chunks. When a limit is reached, the
/// work is dropped and the caller receives `AGENT_TIMEOUT`. The time between two polls of a stream,
/// in which a slow caller does not want the next chunk, does not count as idle.
///
/// The context of the request carries the deadline, so calls to other agents end with it.
///
/// ```
/// use std::time::Duration;
///
/// use agentwire::{
///     Agent, ErrorCode, Message, RequestContext, agent_fn, layer::Timeout,
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let stuck = agent_fn("stuck", |_: Message| std::future::pending())
///     .layer(Timeout::new().total(Duration::from_millis(1)));
/// let error = stuck.process(Message::user("?"), RequestContext::new()).await.unwrap_err();
/// assert_eq!(*error.code(), ErrorCode::AGENT_TIMEOUT);
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Timeout {
    total: Option<Duration>,
    idle: Option<Duration>,
}

impl Default for Timeout {
    fn default() -> Self {
        Self {
            total: Some(DEFAULT_TOTAL),
            idle: None,
        }
    }
}

impl Timeout {
    /// Creates a layer that limits each request to 30 s.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the limit of a whole request. The default is 30 s, and `None` means that there is no
    /// limit.
    pub fn total(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.total = limit.into().map(|limit| limit.min(MAX_TIMEOUT));
        self
    }

    /// Sets the limit of the time without an answer. By default, there is no limit.
    pub fn idle(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.idle = limit.into().map(|limit| limit.min(MAX_TIMEOUT));
        self
    }

    /// Returns the limit of the only answer of a request.
    fn single(&self) -> Option<Duration> {
        match (self.total, self.idle) {
            (Some(total), Some(idle)) => Some(total.min(idle)),
            (total, idle) => total.or(idle),
        }
    }
}

impl Layer for Timeout {
    fn process<A: Agent>(
        &self,
        message: Message,
        mut context: RequestContext,
        next: &Arc<A>,
    ) -> impl Future<Output = Result<Message, AgentError>> + Send {
        let limit = self.single().map(|limit| Limit::start(limit, &mut context));
        let observers = context.observers().clone();
        let work = next.process(message, context);
        Limited::new(work, limit, Target::agent(next), observers)
    }

    fn stream<A: Agent>(
        &self,
        message: Message,
        mut context: RequestContext,
        next: &Arc<A>,
    ) -> impl Stream<Item = Result<Message, AgentError>> + Send {
        stream! {
            let total = self.total.map(|limit| Limit::start(limit, &mut context));
            let observers = context.observers().clone();
            let mut timer = DeadlineTimer::default();
            let end = {
                let mut answers = pin!(next.stream(message, context));
                loop {
                    let idle = self.idle.map(Limit::new);
                    let limit = match (idle, total) {
                        (Some(idle), Some(total)) => Some(idle.earlier(total)),
                        (idle, total) => idle.or(total),
                    };
                    let answer = answers.next();
                    let target = Target::agent(next);
                    match within(limit, &mut timer, answer, target, &observers).await {
                        Ok(Some(Ok(answer))) => yield Ok(answer),
                        Ok(Some(Err(error))) | Err(error) => break Some(error),
                        Ok(None) => break None,
                    }
                }
            };
            // The stream of the agent has been dropped.
            if let Some(error) = end {
                yield Err(error);
            }
        }
    }

    fn execute<T: Tool>(
        &self,
        kwargs: Map,
        mut context: RequestContext,
        next: &Arc<T>,
    ) -> impl Future<Output = Result<ToolResult, AgentError>> + Send {
        let limit = self.single().map(|limit| Limit::start(limit, &mut context));
        let observers = context.observers().clone();
        let work = next.execute(kwargs, context);
        Limited::new(work, limit, Target::tool(next), observers)
    }
}

/// A limit that has started.
#[derive(Debug, Clone, Copy)]
struct Limit {
    limit: Duration,
    end: Instant,
}

impl Limit {
    fn new(limit: Duration) -> Self {
        let end = Instant::now() + limit;
        Self { limit, end }
    }

    /// Starts a limit that calls to other agents inherit.
    fn start(limit: Duration, context: &mut RequestContext) -> Self {
        let limit = Self::new(limit);
        if context
            .deadline()
            .is_none_or(|deadline| limit.end < deadline)
        {
            context.set_deadline(limit.end);
        }
        limit
    }

    fn earlier(self, other: Self) -> Self {
        if other.end < self.end { other } else { self }
    }
}

pin_project! {
    /// Work that ends with an error at a limit.
    struct Limited<'n, F> {
        #[pin]
        work: F,
        limit: Option<Limit>,
        timer: DeadlineTimer,
        target: Target<'n>,
        observers: Observers,
    }
}

impl<'n, F> Limited<'n, F> {
    fn new(work: F, limit: Option<Limit>, target: Target<'n>, observers: Observers) -> Self {
        Self {
            work,
            limit,
            timer: DeadlineTimer::default(),
            target,
            observers,
        }
    }
}

impl<T, F: Future<Output = Result<T, AgentError>>> Future for Limited<'_, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let answer = ready!(poll_within(*this.limit, this.timer, this.work, cx));
        Poll::Ready(
            answer.unwrap_or_else(|limit| Err(timed_out(limit, *this.target, this.observers))),
        )
    }
}

/// Waits for an answer until a limit.
async fn within<T>(
    limit: Option<Limit>,
    timer: &mut DeadlineTimer,
    work: impl Future<Output = T>,
    target: Target<'_>,
    observers: &Observers,
) -> Result<T, AgentError> {
    let mut work = pin!(work);
    let answer = poll_fn(|cx| poll_within(limit, timer, work.as_mut(), cx)).await;
    answer.map_err(|limit| timed_out(limit, target, observers))
}

/// Polls the work, and fails with the limit once it is reached. The timer starts only if the answer
/// is not there at once.
fn poll_within<T>(
    limit: Option<Limit>,
    timer: &mut DeadlineTimer,
    work: Pin<&mut impl Future<Output = T>>,
    cx: &mut Context<'_>,
) -> Poll<Result<T, Duration>> {
    if let Poll::Ready(answer) = work.poll(cx) {
        return Poll::Ready(Ok(answer));
    }
    match limit {
        Some(Limit { limit, end }) => timer.poll(cx, end).map(|()| Err(limit)),
        None => Poll::Pending,
    }
}

fn timed_out(limit: Duration, target: Target<'_>, observers: &Observers) -> AgentError {
    observers.layer_acted("timeout", "timed_out", target.name);
    let text = format!("{target} did not answer within {limit:?}");
    AgentError::with_code(ErrorCode::AGENT_TIMEOUT, text)
}

/// The default of agenkit.
const DEFAULT_TOTAL: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, stream};
    use tokio::time::sleep;

    use super::*;
    use crate::{agent_fn, stream_fn, tool_fn};

    const SECOND: Duration = Duration::from_secs(1);

    fn seconds(error: &AgentError) -> &str {
        assert_eq!(*error.code(), ErrorCode::AGENT_TIMEOUT);
        error.message()
    }

    #[tokio::test(start_paused = true)]
    async fn a_single_answer_has_the_shorter_of_both_limits() {
        for (layer, limit) in [
            (Timeout::new(), Some(30)),
            (Timeout::new().idle(3 * SECOND), Some(3)),
            (Timeout::new().total(2 * SECOND).idle(3 * SECOND), Some(2)),
            (Timeout::new().total(None), None),
            (Timeout::new().total(Duration::MAX), None),
        ] {
            for delay in [1, 3, 40] {
                let agent = agent_fn("slow", move |message: Message, context: RequestContext| {
                    let left = context.remaining().filter(|left| *left < 1000 * SECOND);
                    assert_eq!(left, limit.map(|limit| limit * SECOND));
                    async move {
                        sleep(delay * SECOND).await;
                        Ok(message)
                    }
                });
                let agent = agent.layer(layer);
                let answer = agent.process(Message::user(1), RequestContext::new()).await;
                match limit {
                    Some(limit) if limit < delay => {
                        let text = format!("agent \"slow\" did not answer within {limit}s");
                        assert_eq!(seconds(&answer.unwrap_err()), text);
                    }
                    // Timers fire at the same instant, and the answer is polled first.
                    _ => assert!(answer.is_ok(), "{layer:?} {delay}"),
                }
            }
        }
        let tool = tool_fn("stuck", |_: Map| std::future::pending()).layer(Timeout::new());
        let error = tool.execute(Map::new(), RequestContext::new()).await;
        assert_eq!(
            seconds(&error.unwrap_err()),
            "tool \"stuck\" did not answer within 30s"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_shorter_deadline_of_the_request_is_kept() {
        let agent = agent_fn("a", |_: Message, context: RequestContext| async move {
            Ok(Message::agent(context.remaining().unwrap().as_secs()))
        });
        let agent = agent.layer(Timeout::new());
        for (own, expected) in [(5, 5), (50, 30)] {
            let context = RequestContext::new().with_deadline(Instant::now() + own * SECOND);
            let answer = agent.process(Message::user(1), context).await.unwrap();
            assert_eq!(answer.content.as_i64(), Some(expected));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_has_a_limit_for_each_chunk_and_one_in_total() {
        let agent = stream_fn("ticks", |message: Message| {
            let delay = Duration::from_secs(message.content.as_u64().unwrap());
            stream::unfold(0, move |count| async move {
                sleep(delay).await;
                Some((Ok(Message::agent(count)), count + 1))
            })
        });
        let agent = agent.layer(Timeout::new().total(10 * SECOND).idle(4 * SECOND));
        // Ten seconds have room for five chunks of two seconds, and no chunk may take five.
        for (delay, chunks, limit) in [(2, 5, "10s"), (5, 0, "4s"), (4, 2, "10s")] {
            let answers = agent.stream(Message::user(delay), RequestContext::new());
            let mut answers: Vec<_> = answers.collect().await;
            let error = answers.pop().unwrap().unwrap_err();
            assert!(seconds(&error).ends_with(limit), "{error}");
            assert_eq!(answers.len(), chunks);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_is_not_idle() {
        let agent = stream_fn("quick", |_: Message| {
            stream::iter((0..3).map(|count| Ok(Message::agent(count))))
        });
        let agent = agent.layer(Timeout::new().total(None).idle(SECOND));
        let mut answers = pin!(agent.stream(Message::user(1), RequestContext::new()));
        let mut count = 0;
        while let Some(answer) = answers.next().await {
            answer.unwrap();
            count += 1;
            sleep(10 * SECOND).await;
        }
        assert_eq!(count, 3);
        assert!(
            answers
                .next()
                .now_or_never()
                .is_none_or(|end| end.is_none())
        );
    }
}
