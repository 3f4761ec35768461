//! A layer that sends a second request if the first is slow: [`Hedge`].

use std::{fmt, future::Future, pin::pin, sync::Arc, time::Duration};

use agentwire_codec::{Map, Message, ToolResult};
use agentwire_transport::internal::Mutex;
use futures_util::future::{Either, select};
use tokio::time::{Instant, timeout_at};

use super::{
    Layer,
    budget::Budget,
    target::{ByTarget, Target},
};
use crate::{Agent, AgentError, RequestContext, Tool, observer::Observers};

/// A layer that sends a second request if the first is slow, and takes the answer that arrives
/// first.
///
/// The second request is sent after the time within which 95 % of the latest answers have arrived.
/// It is sent only for messages that an agent may process twice without harm. The layer measures
/// each agent separately, and sends no second requests before it has seen 20 answers. The request
/// that is not needed any more is dropped, which cancels it.
///
/// A budget bounds the additional load: at most 10 % of the requests, and 10 in reserve, are sent
/// twice. Streams pass through.
///
/// ```
/// use agentwire::{Agent, RemoteAgent, layer::Hedge};
///
/// let hedge = Hedge::new(|message| message.metadata["method"] == "search");
/// let remote = RemoteAgent::new("unix:///run/agents/search.sock")?.layer(hedge);
/// # Ok::<(), agentwire::Error>(())
/// ```
#[must_use]
pub struct Hedge {
    idempotent: Box<MessageFilter>,
    idempotent_tools: Option<Box<ToolFilter>>,
    percentile: u8,
    min_delay: Duration,
    latencies: Mutex<ByTarget<Latencies>>,
    budget: Budget,
}

type MessageFilter = dyn Fn(&Message) -> bool + Send + Sync;
type ToolFilter = dyn Fn(&str, &Map) -> bool + Send + Sync;

impl Hedge {
    /// Creates a layer that sends a second request for the messages that `idempotent` accepts:
    /// those that an agent may process twice without harm.
    pub fn new(idempotent: impl Fn(&Message) -> bool + Send + Sync + 'static) -> Self {
        Self {
            idempotent: Box::new(idempotent),
            idempotent_tools: None,
            percentile: 95,
            min_delay: Duration::from_millis(1),
            latencies: Mutex::default(),
            budget: Budget::new(DEFAULT_PERCENT, DEFAULT_RESERVE),
        }
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

    /// Sets the percentage of answers that must arrive before a second request would be sent. The
    /// default is 95, and the range is 50 to 99.
    pub fn percentile(mut self, percentile: u8) -> Self {
        self.percentile = percentile.clamp(50, 99);
        self
    }

    /// Sets the shortest time before a second request. The default is 1 ms.
    pub fn min_delay(mut self, delay: Duration) -> Self {
        self.min_delay = delay;
        self
    }

    /// Sets how many requests may be sent twice: a percentage of all requests, and a reserve. The
    /// defaults are 10 % and 10 requests.
    pub fn budget(mut self, percent: u32, reserve: u32) -> Self {
        self.budget = Budget::new(percent, reserve);
        self
    }

    /// Returns the delay before a second request, or `None` if too few answers are known.
    fn delay(&self, target: Target<'_>) -> Option<Duration> {
        let mut latencies = self.latencies.lock();
        let delay = latencies.of(target).percentile(self.percentile)?;
        Some(delay.max(self.min_delay))
    }

    async fn run<T, F>(
        &self,
        target: Target<'_>,
        observers: &Observers,
        attempt: impl Fn() -> F,
    ) -> Result<T, AgentError>
    where
        F: Future<Output = Result<T, AgentError>> + Send,
        T: Send,
    {
        self.budget.deposit();
        let start = Instant::now();
        let answer = match self.delay(target) {
            Some(delay) => self.race(start + delay, target, observers, attempt).await,
            None => attempt().await,
        };
        if answer.is_ok() {
            let elapsed = start.elapsed();
            self.latencies.lock().of(target).record(elapsed);
        }
        answer
    }

    async fn race<T, F>(
        &self,
        hedge_at: Instant,
        target: Target<'_>,
        observers: &Observers,
        attempt: impl Fn() -> F,
    ) -> Result<T, AgentError>
    where
        F: Future<Output = Result<T, AgentError>> + Send,
        T: Send,
    {
        let mut first = pin!(attempt());
        if let Ok(answer) = timeout_at(hedge_at, first.as_mut()).await {
            return answer;
        }
        if !self.budget.withdraw() {
            return first.await;
        }
        tracing::debug!(%target, "sending a second request");
        observers.layer_acted("hedge", "hedged", target.name);
        match select(first, pin!(attempt())).await {
            Either::Left((Ok(answer), _)) | Either::Right((Ok(answer), _)) => Ok(answer),
            // One request has failed, so the other decides. If both fail, the error of the first
            // request is returned.
            Either::Left((Err(error), second)) => second.await.map_err(|_| error),
            Either::Right((Err(_), first)) => first.await,
        }
    }
}

impl Layer for Hedge {
    fn process<A: Agent>(
        &self,
        message: Message,
        context: RequestContext,
        next: &Arc<A>,
    ) -> impl Future<Output = Result<Message, AgentError>> + Send {
        if !(self.idempotent)(&message) {
            return Either::Left(next.process(message, context));
        }
        Either::Right(Box::pin(async move {
            let attempt = || next.process(message.clone(), context.clone());
            self.run(Target::agent(next), context.observers(), attempt)
                .await
        }))
    }

    fn execute<T: Tool>(
        &self,
        kwargs: Map,
        context: RequestContext,
        next: &Arc<T>,
    ) -> impl Future<Output = Result<ToolResult, AgentError>> + Send {
        let filter = self.idempotent_tools.as_ref();
        if !filter.is_some_and(|filter| filter(next.name(), &kwargs)) {
            return Either::Left(next.execute(kwargs, context));
        }
        Either::Right(Box::pin(async move {
            let attempt = || next.execute(kwargs.clone(), context.clone());
            self.run(Target::tool(next), context.observers(), attempt)
                .await
        }))
    }
}

/// The latest times to an answer.
#[derive(Debug, Default)]
struct Latencies {
    /// A ring of times in microseconds.
    ring: Vec<u32>,
    next: usize,
    /// The percentile, until enough new times are known.
    known: Option<Duration>,
    age: usize,
}

impl Latencies {
    fn record(&mut self, latency: Duration) {
        let micros = u32::try_from(latency.as_micros()).unwrap_or(u32::MAX);
        match self.ring.get_mut(self.next) {
            Some(oldest) => *oldest = micros,
            None => self.ring.push(micros),
        }
        self.next = (self.next + 1) % RING;
        self.age += 1;
    }

    fn percentile(&mut self, percentile: u8) -> Option<Duration> {
        if self.ring.len() < MIN_ANSWERS {
            return None;
        }
        if self.known.is_none() || self.age >= MAX_AGE {
            let mut sorted = self.ring.clone();
            let index = (sorted.len() * usize::from(percentile)).div_ceil(100) - 1;
            let (_, micros, _) = sorted.select_nth_unstable(index);
            self.known = Some(Duration::from_micros(u64::from(*micros)));
            self.age = 0;
        }
        self.known
    }
}

impl fmt::Debug for Hedge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hedge")
            .field("percentile", &self.percentile)
            .field("min_delay", &self.min_delay)
            .field("budget", &self.budget)
            .finish_non_exhaustive()
    }
}

/// The number of times that are kept.
const RING: usize = 256;
/// The number of times from which a percentile is estimated.
const MIN_ANSWERS: usize = 20;
/// The number of new times after which the percentile is computed again.
const MAX_AGE: usize = 16;
const DEFAULT_PERCENT: u32 = 10;
const DEFAULT_RESERVE: u32 = 10;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use tokio::time::sleep;

    use super::*;
    use crate::{agent_fn, tool_fn};

    const MILLI: Duration = Duration::from_millis(1);

    #[test]
    fn the_percentile_is_that_of_the_sorted_times() {
        for seed in 0..10 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut latencies = Latencies::default();
            let mut all = Vec::new();
            for count in 1..400 {
                let micros = random.u64(1..1_000_000);
                latencies.record(Duration::from_micros(micros));
                all.push(micros);
                let percentile = random.u8(50..100);
                latencies.known = None;
                let mut sorted = all[all.len().saturating_sub(RING)..].to_vec();
                sorted.sort_unstable();
                let index = (sorted.len() as f64 * f64::from(percentile) / 100.0).ceil();
                let expected = Duration::from_micros(sorted[index as usize - 1]);
                let expected = (count >= MIN_ANSWERS).then_some(expected);
                assert_eq!(latencies.percentile(percentile), expected);
            }
        }
    }

    /// An agent whose answers take the times in the messages, one time for each attempt.
    struct Slow {
        calls: AtomicUsize,
        running: AtomicUsize,
    }

    struct Run<'a>(&'a AtomicUsize);

    impl Drop for Run<'_> {
        fn drop(&mut self) {
            self.0.fetch_sub(1, SeqCst);
        }
    }

    impl Agent for SlowAgent {
        fn name(&self) -> &str {
            "slow"
        }

        async fn process(
            &self,
            message: Message,
            _: RequestContext,
        ) -> Result<Message, AgentError> {
            let call = self.0.calls.fetch_add(1, SeqCst);
            self.0.running.fetch_add(1, SeqCst);
            let _run = Run(&self.0.running);
            let times = message.content.as_list().unwrap();
            let time = times[call.min(times.len() - 1)].as_i64().unwrap();
            sleep(Duration::from_millis(time.unsigned_abs())).await;
            if time < 0 {
                return Err(AgentError::new(format!("failed after {time}")));
            }
            Ok(Message::agent(time))
        }
    }

    struct SlowAgent(Arc<Slow>);

    #[tokio::test(start_paused = true)]
    async fn the_faster_of_two_requests_answers_and_the_other_is_dropped() {
        for (times, calls, expected, elapsed) in [
            // The p95 is 10 ms.
            (vec![5], 1, Ok(5), 5),
            (vec![100, 3], 2, Ok(3), 13),
            (vec![15, 100], 2, Ok(15), 15),
            (vec![100, -3], 2, Ok(100), 100),
            (vec![-15, 20], 2, Ok(20), 30),
            (vec![-15, -100], 2, Err("failed after -15"), 110),
            (vec![-5], 1, Err("failed after -5"), 5),
        ] {
            let slow = Arc::new(Slow {
                calls: AtomicUsize::new(0),
                running: AtomicUsize::new(0),
            });
            let agent = SlowAgent(Arc::clone(&slow)).layer(Hedge::new(|_| true));
            for _ in 0..MIN_ANSWERS {
                let call = agent.process(Message::user(vec![10]), RequestContext::new());
                call.await.unwrap();
            }
            slow.calls.store(0, SeqCst);
            let start = Instant::now();
            let answer = agent
                .process(Message::user(times.clone()), RequestContext::new())
                .await;
            assert_eq!(start.elapsed(), elapsed * MILLI, "{times:?}");
            assert_eq!(slow.calls.load(SeqCst), calls, "{times:?}");
            assert_eq!(slow.running.load(SeqCst), 0, "{times:?}");
            match (answer, expected) {
                (Ok(answer), Ok(expected)) => {
                    assert_eq!(answer.content.as_i64(), Some(expected));
                }
                (Err(error), Err(expected)) => assert_eq!(error.message(), expected),
                (found, expected) => panic!("{times:?}: {found:?} instead of {expected:?}"),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_idempotent_requests_are_sent_twice_and_only_within_the_budget() {
        let calls = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&calls);
        let agent = agent_fn("a", move |message: Message| {
            counter.fetch_add(1, SeqCst);
            let time = message.content.as_u64().unwrap();
            async move {
                sleep(Duration::from_millis(time)).await;
                Ok(message)
            }
        });
        let hedge = Hedge::new(|message| message.metadata.is_empty()).budget(10, 3);
        let agent = agent.layer(hedge);
        for _ in 0..MIN_ANSWERS {
            agent
                .process(Message::user(1), RequestContext::new())
                .await
                .unwrap();
        }
        calls.store(0, SeqCst);
        for _ in 0..10 {
            let message = Message::user(100).with_metadata("writes", true);
            agent.process(message, RequestContext::new()).await.unwrap();
        }
        assert_eq!(calls.swap(0, SeqCst), 10);
        // The reserve of three, and one of ten others.
        for _ in 0..11 {
            agent
                .process(Message::user(100), RequestContext::new())
                .await
                .unwrap();
        }
        assert_eq!(calls.load(SeqCst), 11 + 4);
        let tool = tool_fn("t", |_: Map| async { Ok(ToolResult::success(1)) });
        let tool = tool.layer(Hedge::new(|_| true).idempotent_tools(|name, _| name == "t"));
        tool.execute(Map::new(), RequestContext::new())
            .await
            .unwrap();
    }
}
