//! A layer that limits how many requests run at a time: [`ConcurrencyLimit`].

mod permits;

use std::{fmt, future::Future, sync::Arc, time::Duration};

use agentwire_codec::{Map, Message, ToolResult};
use agentwire_transport::internal::MAX_TIMEOUT;
use futures_core::Stream;
use futures_util::future::Either;

use self::permits::{Cause, Order, Permit, Permits, Refused};
use super::{Layer, future::Seen, refusal::unavailable, stream::admitted, target::Target};
use crate::{Agent, AgentError, RequestContext, Tool};

/// A layer that limits how many requests run at a time.
///
/// A request beyond the limit waits in a queue. If the queue is full, or the request has waited for
/// too long, the caller receives `AGENT_UNAVAILABLE` and may try again: the agent has not seen the
/// request. The details of the error are `"reason": "busy"` and `retry_after_ms`, which is the time
/// in which the present queue will have been served.
///
/// A stream holds its permit until it ends or is dropped.
///
/// # Priorities
///
/// A request has a [priority](Priority) from -10 to 10. By default, middleware attaches it to the
/// context of the request, or the message carries it as the integer `priority` in its metadata. Any
/// caller can write metadata, so a server with untrusted callers should set its own
/// [`priority`](Self::priority).
///
/// Each level is worth a head start of one second: a request with the priority 2 goes before a
/// request with the priority 0 that has waited for less than two seconds longer. No request can
/// therefore starve. If the queue is full, a request replaces the last one in the queue, if it goes
/// before it.
///
/// ```
/// use std::time::Duration;
///
/// use agentwire::{Agent, Message, RequestContext, agent_fn, layer::ConcurrencyLimit};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), agentwire::AgentError> {
/// let limit = ConcurrencyLimit::new(8).queue(100).max_wait(Duration::from_secs(1));
/// let echo = agent_fn("echo", |message: Message| async move { Ok(message) }).layer(limit);
/// let urgent = Message::user("now").with_metadata("priority", 10);
/// echo.process(urgent, RequestContext::new()).await?;
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct ConcurrencyLimit {
    permits: Arc<Permits>,
    priority: Option<Box<PriorityFn>>,
}

type PriorityFn = dyn Fn(Option<&Message>, &RequestContext) -> Priority + Send + Sync;

/// The priority of a request, from -10 to 10. Requests without a priority have 0, and higher
/// priorities go first.
///
/// Middleware sets the priority with `context.extensions_mut().insert(Priority::new(5))`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(i8);

impl Priority {
    /// Creates a priority. Values out of range become the nearest priority.
    #[must_use]
    pub fn new(priority: i64) -> Self {
        let limit = i64::from(MAX_PRIORITY);
        let priority = i8::try_from(priority.clamp(-limit, limit));
        Self(priority.unwrap_or_default())
    }

    /// Returns the priority as a number.
    #[must_use]
    pub fn level(self) -> i8 {
        self.0
    }
}

impl ConcurrencyLimit {
    /// Creates a layer that lets `limit` requests run at a time. The minimum is 1. 64 further
    /// requests wait for up to 5 s.
    pub fn new(limit: usize) -> Self {
        Self {
            permits: Arc::new(Permits::new(limit.max(1), DEFAULT_QUEUE, DEFAULT_MAX_WAIT)),
            priority: None,
        }
    }

    /// Sets how many requests may wait. The default is 64. With 0, a request beyond the limit is
    /// refused at once.
    pub fn queue(mut self, queue: usize) -> Self {
        let Permits {
            limit, max_wait, ..
        } = *self.permits;
        self.permits = Arc::new(Permits::new(limit, queue, max_wait));
        self
    }

    /// Sets how long a request may wait. The default is 5 s. A request never waits beyond its own
    /// deadline.
    pub fn max_wait(mut self, limit: Duration) -> Self {
        let Permits {
            limit: own, queue, ..
        } = *self.permits;
        self.permits = Arc::new(Permits::new(own, queue, limit.min(MAX_TIMEOUT)));
        self
    }

    /// Sets how the priority of a request is found. The message is `None` if the request is for a
    /// tool.
    ///
    /// ```
    /// use agentwire::layer::{ConcurrencyLimit, Priority};
    ///
    /// let limit = ConcurrencyLimit::new(8).priority(|_, context| {
    ///     let is_staff = context.principal().is_some_and(|who| who.has_role("staff"));
    ///     Priority::new(if is_staff { 5 } else { 0 })
    /// });
    /// ```
    pub fn priority(
        mut self,
        priority: impl Fn(Option<&Message>, &RequestContext) -> Priority + Send + Sync + 'static,
    ) -> Self {
        self.priority = Some(Box::new(priority));
        self
    }

    /// Returns the number of requests that are running.
    #[must_use]
    pub fn running(&self) -> usize {
        self.permits.running()
    }

    /// Returns the number of requests that are waiting.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.permits.waiting()
    }

    /// Returns where a request goes in the queue.
    fn order(&self, message: Option<&Message>, context: &RequestContext) -> Order {
        let priority = match &self.priority {
            Some(priority) => priority(message, context),
            None => own_priority(message, context),
        };
        Order {
            head_start: i64::from(priority.0) * HEAD_START,
            deadline: context.deadline(),
        }
    }

    async fn acquire(&self, order: Order, target: Target<'_>) -> Result<Permit, AgentError> {
        let permit = self.permits.acquire(order).await;
        permit.map_err(|refused| busy(&refused, target))
    }
}

impl Layer for ConcurrencyLimit {
    fn process<A: Agent>(
        &self,
        message: Message,
        context: RequestContext,
        next: &Arc<A>,
    ) -> impl Future<Output = Result<Message, AgentError>> + Send {
        if let Some(permit) = self.permits.try_acquire() {
            return Either::Left(permit.hold(next.process(message, context)));
        }
        Either::Right(Box::pin(async move {
            let order = self.order(Some(&message), &context);
            let permit = self.acquire(order, Target::agent(next)).await;
            let permit = permit.inspect_err(|_| shed(&context, next.name()))?;
            permit.hold(next.process(message, context)).await
        }))
    }

    fn stream<A: Agent>(
        &self,
        message: Message,
        context: RequestContext,
        next: &Arc<A>,
    ) -> impl Stream<Item = Result<Message, AgentError>> + Send {
        let order = self.order(Some(&message), &context);
        let permit = self.acquire(order, Target::agent(next));
        admitted((LAYER, SHED), permit, message, context, next)
    }

    fn execute<T: Tool>(
        &self,
        kwargs: Map,
        context: RequestContext,
        next: &Arc<T>,
    ) -> impl Future<Output = Result<ToolResult, AgentError>> + Send {
        if let Some(permit) = self.permits.try_acquire() {
            return Either::Left(permit.hold(next.execute(kwargs, context)));
        }
        Either::Right(Box::pin(async move {
            let order = self.order(None, &context);
            let permit = self.acquire(order, Target::tool(next)).await;
            let permit = permit.inspect_err(|_| shed(&context, next.name()))?;
            permit.hold(next.execute(kwargs, context)).await
        }))
    }
}

impl Permit {
    /// Holds the permit until the answer is there, or until the work is dropped.
    fn hold<T>(self, work: impl Future<Output = T>) -> impl Future<Output = T> {
        Seen::new(work, move |_| drop(self))
    }
}

/// Returns the priority in the context, or in the metadata of the message.
fn own_priority(message: Option<&Message>, context: &RequestContext) -> Priority {
    if let Some(priority) = context.extensions().get() {
        return *priority;
    }
    let priority = message.and_then(|message| message.metadata.get("priority")?.as_i64());
    priority.map(Priority::new).unwrap_or_default()
}

/// Reports that a request was refused.
fn shed(context: &RequestContext, name: &str) {
    context.observers().layer_acted(LAYER, SHED, name);
}

fn busy(refused: &Refused, target: Target<'_>) -> AgentError {
    let text = match refused.cause {
        Cause::Full => format!("{target} is busy"),
        Cause::Waited(wait) => format!("{target} is busy: no permit within {wait:?}"),
    };
    unavailable("busy", text, refused.retry_after)
}

impl fmt::Debug for ConcurrencyLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConcurrencyLimit")
            .field("limit", &self.permits.limit)
            .field("queue", &self.permits.queue)
            .field("max_wait", &self.permits.max_wait)
            .field("running", &self.running())
            .field("waiting", &self.waiting())
            .finish_non_exhaustive()
    }
}

const LAYER: &str = "concurrency_limit";
const SHED: &str = "shed";
const MAX_PRIORITY: i8 = 10;
/// The head start of one level of priority, in nanoseconds.
const HEAD_START: i64 = 1_000_000_000;
const DEFAULT_QUEUE: usize = 64;
const DEFAULT_MAX_WAIT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use agentwire_codec::ErrorCode;
    use futures_util::{FutureExt, future};
    use tokio::{
        task::JoinSet,
        time::{Instant, sleep},
    };

    use super::*;
    use crate::{agent_fn, layer::testing::check_permits, tool_fn};

    const MILLI: Duration = Duration::from_millis(1);

    fn reason(error: &AgentError) -> (Option<&str>, u64) {
        assert_eq!(*error.code(), ErrorCode::AGENT_UNAVAILABLE);
        let details = error.details();
        (
            details["reason"].as_str(),
            details["retry_after_ms"].as_u64().unwrap(),
        )
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_beyond_limit_and_queue_is_refused_and_one_that_waits_too_long() {
        let stuck = agent_fn("stuck", |_: Message| future::pending());
        let stuck = stuck.layer(ConcurrencyLimit::new(1).queue(1).max_wait(50 * MILLI));
        let call = || stuck.process(Message::user(1), RequestContext::new());
        let mut first = pin!(call());
        assert!(first.as_mut().now_or_never().is_none());
        let mut second = pin!(call());
        assert!(second.as_mut().now_or_never().is_none());
        let third = call().await.unwrap_err();
        assert_eq!(reason(&third), (Some("busy"), 100));
        let start = Instant::now();
        let second = second.await.unwrap_err();
        assert_eq!(start.elapsed(), 50 * MILLI);
        assert_eq!(
            second.message(),
            "agent \"stuck\" is busy: no permit within 50ms"
        );
        // A request does not wait beyond its deadline.
        let context = RequestContext::new().with_deadline(Instant::now() + 10 * MILLI);
        let start = Instant::now();
        let call = stuck.process(Message::user(1), context);
        reason(&call.await.unwrap_err());
        assert_eq!(start.elapsed(), 10 * MILLI);
    }

    #[tokio::test(start_paused = true)]
    async fn retry_after_is_the_time_in_which_the_queue_is_served() {
        let slow = tool_fn("slow", |_: Map| async {
            sleep(20 * MILLI).await;
            Ok(ToolResult::success(1))
        });
        let slow = Arc::new(slow.layer(ConcurrencyLimit::new(2).queue(20)));
        let mut calls = JoinSet::new();
        let call = || {
            let slow = Arc::clone(&slow);
            async move { slow.execute(Map::new(), RequestContext::new()).await }
        };
        for _ in 0..22 {
            calls.spawn(call());
        }
        sleep(101 * MILLI).await;
        for _ in 0..10 {
            calls.spawn(call());
        }
        tokio::task::yield_now().await;
        // Two permits of 20 ms each serve a queue of 20 in 200 ms.
        let (_, after) = reason(&call().await.unwrap_err());
        assert!((150..=250).contains(&after), "{after}");
    }

    #[tokio::test(start_paused = true)]
    async fn higher_priorities_go_first_and_evict_but_none_starves() {
        let order = Arc::new(agentwire_transport::internal::Mutex::new(Vec::new()));
        let agent = agent_fn("one", {
            let order = Arc::clone(&order);
            move |message: Message| {
                order.lock().push(message.text().unwrap().to_owned());
                async move {
                    sleep(100 * MILLI).await;
                    Ok(message)
                }
            }
        });
        let agent = Arc::new(agent.layer(ConcurrencyLimit::new(1).queue(4)));
        let mut calls = JoinSet::new();
        let mut start = |name: &str, priority: i64| {
            let agent = Arc::clone(&agent);
            let message = Message::user(name).with_metadata("priority", priority);
            calls.spawn(async move { agent.process(message, RequestContext::new()).await });
        };
        for (name, priority) in [("a", 0), ("b", 0), ("c", -1), ("d", 2), ("e", 2), ("f", 1)] {
            start(name, priority);
            sleep(MILLI).await;
        }
        let refused = calls.join_next().await.unwrap().unwrap().unwrap_err();
        reason(&refused);
        calls.join_all().await;
        assert_eq!(order.lock().drain(..).collect::<String>(), "adefb");

        // A steady flow of urgent requests delays the others for two seconds, and then no longer.
        let agent = agent.clone();
        let mut calls = JoinSet::new();
        let low = {
            let agent = Arc::clone(&agent);
            let first = agent.process(Message::user("x"), RequestContext::new());
            let mut first = Box::pin(first);
            assert!(first.as_mut().now_or_never().is_none());
            let begin = Instant::now();
            let agent = Arc::clone(&agent);
            let low = tokio::spawn(async move {
                agent
                    .process(Message::user("low"), RequestContext::new())
                    .await
                    .unwrap();
                begin.elapsed()
            });
            tokio::task::yield_now().await;
            first.await.unwrap();
            low
        };
        for _ in 0..40 {
            let agent = Arc::clone(&agent);
            let message = Message::user("high").with_metadata("priority", 2);
            calls.spawn(async move { agent.process(message, RequestContext::new()).await });
            sleep(95 * MILLI).await;
        }
        let waited = low.await.unwrap();
        assert!(waited < 3000 * MILLI, "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn no_permit_is_lost_at_any_drop_and_none_is_given_twice() {
        for seed in 0..40 {
            check_permits(seed, |agent| agent).await;
        }
    }
}
