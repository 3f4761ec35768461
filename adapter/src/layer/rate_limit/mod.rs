//! A layer that limits the rate of requests: [`RateLimit`].

mod buckets;

use std::{
    fmt,
    future::Future,
    hash::{BuildHasher, Hash, Hasher, RandomState},
    sync::Arc,
    time::Duration,
};

use agentwire_codec::{ErrorCode, Map, Message, ToolResult, map};
use agentwire_transport::internal::MAX_TIMEOUT;
use futures_core::Stream;
use futures_util::future::Either;
use tokio::time::Instant;

use self::buckets::Buckets;
use super::{Layer, gcra::Rate, refusal::millis, stream::admitted, target::Target};
use crate::{Agent, AgentError, RequestContext, Tool, server::PeerKey};

/// A layer that limits the rate of requests.
///
/// The rate is one for all requests, or one for each [caller](Self::per_caller), for each
/// [agent](Self::per_agent), or for each pair of both. A caller is a principal. Without
/// authentication, a caller is a user behind a Unix socket, an IPv4 address or an IPv6 network.
/// What a message says about its sender does not matter.
///
/// A request beyond the rate is refused with `RATE_LIMITED`. The entry `retry_after_ms` of the
/// details says when a request will be accepted. With a [`max_wait`](Self::max_wait), a request
/// first waits for its turn. A stream counts as one request.
///
/// ```
/// use std::time::Duration;
///
/// use agentwire::{Agent, ErrorCode, Message, RequestContext, agent_fn, layer::RateLimit};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), agentwire::AgentError> {
/// let limit = RateLimit::new(60, Duration::from_secs(60)).burst(1).per_caller();
/// let echo = agent_fn("echo", |message: Message| async move { Ok(message) }).layer(limit);
/// echo.process(Message::user(1), RequestContext::new()).await?;
/// let error = echo.process(Message::user(2), RequestContext::new()).await.unwrap_err();
/// assert_eq!(*error.code(), ErrorCode::RATE_LIMITED);
/// assert!(error.details()["retry_after_ms"].as_u64() <= Some(1000));
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct RateLimit {
    count: u32,
    period: Duration,
    burst: u32,
    rate: Rate,
    per_caller: bool,
    per_agent: bool,
    max_wait: Duration,
    buckets: Buckets,
    hasher: RandomState,
}

/// The default of agenkit: 10 requests per second, and 10 at once.
impl Default for RateLimit {
    fn default() -> Self {
        Self::new(10, Duration::from_secs(1))
    }
}

impl RateLimit {
    /// Creates a layer that accepts `count` requests in each `period`. The minimum is 1.
    pub fn new(count: u32, period: Duration) -> Self {
        let count = count.max(1);
        Self {
            count,
            period,
            burst: count,
            rate: Rate::new(count, period, count),
            per_caller: false,
            per_agent: false,
            max_wait: Duration::ZERO,
            buckets: Buckets::new(DEFAULT_MAX_BUCKETS),
            hasher: RandomState::new(),
        }
    }

    /// Sets how many requests are accepted at once after a pause. The default is the number of
    /// requests in a period, and the minimum is 1.
    pub fn burst(mut self, requests: u32) -> Self {
        self.burst = requests.max(1);
        self.rate = Rate::new(self.count, self.period, self.burst);
        self
    }

    /// Counts the requests of each caller separately.
    pub fn per_caller(mut self) -> Self {
        self.per_caller = true;
        self
    }

    /// Counts the requests for each agent and each tool separately.
    pub fn per_agent(mut self) -> Self {
        self.per_agent = true;
        self
    }

    /// Sets how long a request may wait for its turn. By default, a request does not wait. A
    /// request that would have to wait for longer, or beyond its deadline, is refused at once.
    pub fn max_wait(mut self, limit: Duration) -> Self {
        self.max_wait = limit.min(MAX_TIMEOUT);
        self
    }

    /// Sets how many callers are counted separately at a time. The default is 10,000. Further
    /// callers share one rate. Callers that have sent nothing for a while do not count.
    pub fn max_callers(mut self, callers: usize) -> Self {
        self.buckets = Buckets::new(callers);
        self
    }

    fn key(&self, context: &RequestContext, target: Target<'_>) -> Option<u64> {
        if !self.per_caller && !self.per_agent {
            return None;
        }
        let mut hasher = self.hasher.build_hasher();
        if self.per_agent {
            target.hash(&mut hasher);
        }
        if self.per_caller {
            match context.principal() {
                Some(principal) => (principal.name(), principal.namespace()).hash(&mut hasher),
                None => PeerKey::of(context.peer()).hash(&mut hasher),
            }
        }
        Some(hasher.finish())
    }

    /// Admits a request if it need not wait.
    fn try_admit(&self, key: Option<u64>) -> bool {
        let own = key.map(|key| self.buckets.bucket(key));
        let bucket = own.as_deref().unwrap_or_else(|| self.buckets.shared());
        self.buckets.try_admit(bucket, self.rate)
    }

    async fn admit(
        &self,
        key: Option<u64>,
        deadline: Option<Instant>,
        target: Target<'_>,
    ) -> Result<(), AgentError> {
        let max_wait = match deadline {
            Some(deadline) if !self.max_wait.is_zero() => deadline
                .saturating_duration_since(Instant::now())
                .min(self.max_wait),
            _ => self.max_wait,
        };
        let own = key.map(|key| self.buckets.bucket(key));
        let bucket = own.as_deref().unwrap_or_else(|| self.buckets.shared());
        let admitted = self.buckets.admit(bucket, self.rate, max_wait).await;
        admitted.map_err(|retry_after| {
            let Self { count, period, .. } = self;
            let text = format!("{target} accepts {count} requests in {period:?}");
            AgentError::with_code(ErrorCode::RATE_LIMITED, text).with_details(map! {
                "retry_after_ms": (millis(retry_after)),
                "of": "requests",
                "limit": (*count),
            })
        })
    }
}

impl Layer for RateLimit {
    fn process<A: Agent>(
        &self,
        message: Message,
        context: RequestContext,
        next: &Arc<A>,
    ) -> impl Future<Output = Result<Message, AgentError>> + Send {
        let target = Target::agent(next);
        let key = self.key(&context, target);
        if self.try_admit(key) {
            return Either::Left(next.process(message, context));
        }
        Either::Right(Box::pin(async move {
            let admitted = self.admit(key, context.deadline(), target).await;
            admitted.inspect_err(|_| refused(&context, target))?;
            next.process(message, context).await
        }))
    }

    fn stream<A: Agent>(
        &self,
        message: Message,
        context: RequestContext,
        next: &Arc<A>,
    ) -> impl Stream<Item = Result<Message, AgentError>> + Send {
        let target = Target::agent(next);
        let key = self.key(&context, target);
        let admission = self.admit(key, context.deadline(), target);
        admitted((LAYER, REFUSED), admission, message, context, next)
    }

    fn execute<T: Tool>(
        &self,
        kwargs: Map,
        context: RequestContext,
        next: &Arc<T>,
    ) -> impl Future<Output = Result<ToolResult, AgentError>> + Send {
        let target = Target::tool(next);
        let key = self.key(&context, target);
        if self.try_admit(key) {
            return Either::Left(next.execute(kwargs, context));
        }
        Either::Right(Box::pin(async move {
            let admitted = self.admit(key, context.deadline(), target).await;
            admitted.inspect_err(|_| refused(&context, target))?;
            next.execute(kwargs, context).await
        }))
    }
}

/// Reports that a request was refused.
fn refused(context: &RequestContext, target: Target<'_>) {
    context.observers().layer_acted(LAYER, REFUSED, target.name);
}

const LAYER: &str = "rate_limit";
const REFUSED: &str = "refused";

impl fmt::Debug for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit")
            .field("count", &self.count)
            .field("period", &self.period)
            .field("burst", &self.burst)
            .field("per_caller", &self.per_caller)
            .field("per_agent", &self.per_agent)
            .field("max_wait", &self.max_wait)
            .finish_non_exhaustive()
    }
}

const DEFAULT_MAX_BUCKETS: usize = 10_000;

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use tokio::{
        task::JoinSet,
        time::{advance, sleep, timeout},
    };

    use super::*;
    use crate::{FnAgent, Principal, agent_fn, stream_fn, tool_fn};

    const SECOND: Duration = Duration::from_secs(1);

    fn retry_after(error: &AgentError) -> u64 {
        assert_eq!(*error.code(), ErrorCode::RATE_LIMITED);
        error.details()["retry_after_ms"].as_u64().unwrap()
    }

    fn echo(name: &str) -> FnAgent<impl crate::AgentHandler<(Message,)> + use<>, (Message,)> {
        agent_fn(name, |message: Message| async move { Ok(message) })
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_beyond_the_rate_is_refused_with_the_exact_time() {
        let limit = Arc::new(RateLimit::new(10, SECOND).burst(2));
        let agent = echo("a").layer(Arc::clone(&limit));
        let streams = stream_fn("s", |message: Message| {
            futures_util::stream::iter([Ok(message)])
        });
        let streams = streams.layer(Arc::clone(&limit));
        let tool = tool_fn("t", |_: Map| async { Ok(ToolResult::success(1)) }).layer(limit);
        agent
            .process(Message::user(1), RequestContext::new())
            .await
            .unwrap();
        let answers = streams.stream(Message::user(1), RequestContext::new());
        assert_eq!(
            answers
                .filter(|one| std::future::ready(one.is_ok()))
                .count()
                .await,
            1
        );
        let error = tool
            .execute(Map::new(), RequestContext::new())
            .await
            .unwrap_err();
        assert_eq!(retry_after(&error), 100);
        assert_eq!(error.message(), "tool \"t\" accepts 10 requests in 1s");
        advance(Duration::from_millis(99)).await;
        let error = agent.process(Message::user(1), RequestContext::new()).await;
        assert_eq!(retry_after(&error.unwrap_err()), 1);
        advance(Duration::from_millis(1)).await;
        tool.execute(Map::new(), RequestContext::new())
            .await
            .unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn callers_and_agents_have_their_own_rates() {
        let alice = || RequestContext::new().with_principal(Principal::new("alice"));
        let bob = || RequestContext::new().with_principal(Principal::new("bob"));
        let other = || {
            RequestContext::new().with_principal(Principal::new("alice").with_namespace("other"))
        };
        for (limit, expected) in [
            (
                RateLimit::new(1, SECOND),
                [true, false, false, false, false],
            ),
            (
                RateLimit::new(1, SECOND).per_caller(),
                [true, true, true, true, false],
            ),
            (
                RateLimit::new(1, SECOND).per_agent(),
                [true, false, false, false, true],
            ),
            (
                RateLimit::new(1, SECOND).per_agent().per_caller(),
                [true; 5],
            ),
        ] {
            let limit = Arc::new(limit);
            let a = echo("a").layer(Arc::clone(&limit));
            let b = echo("b").layer(limit);
            let found = [
                a.process(Message::user(1), alice()).await.is_ok(),
                a.process(Message::user(1), bob()).await.is_ok(),
                a.process(Message::user(1), other()).await.is_ok(),
                a.process(Message::user(1), RequestContext::new())
                    .await
                    .is_ok(),
                b.process(Message::user(1), alice()).await.is_ok(),
            ];
            assert_eq!(found, expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_table_of_callers_is_bounded_and_forgets_idle_ones() {
        let limit = Arc::new(RateLimit::new(1, SECOND).per_caller().max_callers(10));
        let agent = echo("a").layer(Arc::clone(&limit));
        let crowd = async |from: u32| {
            let mut accepted = 0;
            for caller in from..from + 100 {
                let principal = Principal::new(caller.to_string());
                let context = RequestContext::new().with_principal(principal);
                accepted += u32::from(agent.process(Message::user(1), context).await.is_ok());
            }
            accepted
        };
        // Ten callers, and one for all others.
        assert_eq!(crowd(0).await, 11);
        assert_eq!(crowd(100).await, 0);
        advance(2 * SECOND).await;
        assert_eq!(crowd(200).await, 11);
        assert_eq!(limit.buckets.len(), 10);
    }

    /// Requests that wait are admitted in order and at the rate, and those that give up cost
    /// nothing.
    #[tokio::test(start_paused = true)]
    async fn waiting_requests_are_admitted_in_order_and_never_too_many() {
        for seed in 0..30 {
            let mut random = fastrand::Rng::with_seed(seed);
            let burst = random.u32(1..4);
            let limit = RateLimit::new(100, SECOND).burst(burst);
            let agent = Arc::new(echo("a").layer(limit.max_wait(Duration::from_millis(300))));
            let mut calls = JoinSet::new();
            for call in 0..150 {
                sleep(Duration::from_millis(random.u64(0..14))).await;
                let agent = Arc::clone(&agent);
                let patience = Duration::from_millis(random.u64(0..400));
                calls.spawn(async move {
                    let work = agent.process(Message::user(1), RequestContext::new());
                    let admitted = timeout(patience, work)
                        .await
                        .is_ok_and(|reply| reply.is_ok());
                    admitted.then(|| (Instant::now(), call))
                });
            }
            let mut admitted: Vec<_> = calls.join_all().await.into_iter().flatten().collect();
            admitted.sort();
            assert!(admitted.is_sorted_by_key(|(_, call)| *call), "seed {seed}");
            // In any window of time, no more than the rate and the burst.
            for (index, (start, _)) in admitted.iter().enumerate() {
                for (more, (end, _)) in admitted[index..].iter().enumerate() {
                    let allowed = (*end - *start).as_millis() / 10 + u128::from(burst);
                    assert!((more as u128) < allowed, "seed {seed}");
                }
            }
            assert!(admitted.len() > 100, "seed {seed}: {}", admitted.len());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_would_wait_for_too_long_is_refused_at_once() {
        let agent = echo("a").layer(RateLimit::new(1, SECOND).max_wait(2 * SECOND));
        agent
            .process(Message::user(1), RequestContext::new())
            .await
            .unwrap();
        let start = Instant::now();
        let call = || agent.process(Message::user(1), RequestContext::new());
        let (first, second, third) = tokio::join!(call(), call(), call());
        assert!(first.is_ok() && second.is_ok());
        assert_eq!(retry_after(&third.unwrap_err()), 3000);
        assert_eq!(start.elapsed(), 2 * SECOND);
        let context = RequestContext::new().with_deadline(Instant::now() + SECOND / 2);
        let error = agent.process(Message::user(1), context).await.unwrap_err();
        assert_eq!((retry_after(&error), start.elapsed()), (1000, 2 * SECOND));
    }
}
