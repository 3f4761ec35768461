//! A layer that stops calling an agent that fails: [`CircuitBreaker`].

mod circuit;

use std::{
    future::{Future, ready},
    pin::pin,
    sync::Arc,
    thread,
    time::Duration,
};

use agentwire_codec::{Map, Message, ToolResult};
use agentwire_transport::internal::{MAX_TIMEOUT, Mutex};
use async_stream::stream;
use futures_core::Stream;
use futures_util::{StreamExt, future::Either};
use tokio::time::Instant;

pub use self::circuit::CircuitState;
use self::circuit::{Circuit, Outcome, Settings, Ticket};
use super::{
    Layer,
    fault::{is_fault, is_out_of_time},
    future::Seen,
    refusal::unavailable,
    target::{ByTarget, Kind, Target},
};
use crate::{Agent, AgentError, RequestContext, Tool, observer::Observers};

/// A layer that stops calling an agent that fails, so that callers need not wait for it and the
/// agent can recover.
///
/// Each agent and each tool has its own circuit. After five failures in a row, the circuit opens
/// for 60 s, and requests are refused with `AGENT_UNAVAILABLE`, the reason `circuit_open` and
/// `retry_after_ms`. Then one request at a time is let through as a trial. The circuit closes after
/// two successful trials and opens again after a failed one. A trial that is still running after
/// 60 s no longer keeps others out.
///
/// A failure is an error that says that the agent does not work, such as `INTERNAL_ERROR`,
/// `AGENT_UNAVAILABLE` or a lost connection. Errors that the caller has caused do not count: an
/// unknown name, a refused credential, an exceeded rate, or an error with a code of the agent's
/// own. A timeout counts unless it is the deadline with which the request came. To count slow
/// answers, place a [`Timeout`](super::Timeout) inside this layer. A stream counts as successful as
/// soon as its first chunk arrives.
///
/// A client that [discovers](crate::RemoteAgent::discover) its agent already avoids single
/// instances that fail. This layer would stop calling all instances because of one. Use this layer
/// for agents that call something else.
///
/// ```
/// use std::time::Duration;
///
/// use agentwire::{
///     Agent, AgentError, ErrorCode, Message, RequestContext, agent_fn, layer::CircuitBreaker,
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let breaker = CircuitBreaker::new().failures(1).open_for(Duration::from_secs(10));
/// let broken = agent_fn("broken", |_: Message| async { Err(AgentError::new("a bug")) })
///     .layer(breaker);
/// let error = broken.process(Message::user(1), RequestContext::new()).await.unwrap_err();
/// assert_eq!(error.message(), "a bug");
/// let error = broken.process(Message::user(2), RequestContext::new()).await.unwrap_err();
/// assert_eq!(*error.code(), ErrorCode::AGENT_UNAVAILABLE);
/// # }
/// ```
#[derive(Debug)]
#[must_use]
pub struct CircuitBreaker {
    settings: Settings,
    circuits: Mutex<ByTarget<Circuit>>,
}

impl Default for CircuitBreaker {
    fn default() -> Self {
        Self {
            settings: Settings {
                failures: 5,
                open_for: Duration::from_secs(60),
                successes: 2,
                trials: 1,
            },
            circuits: Mutex::default(),
        }
    }
}

impl CircuitBreaker {
    /// Creates a layer with the default settings.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how many failures in a row open a circuit. The default is 5, and the minimum is 1.
    pub fn failures(mut self, count: u32) -> Self {
        self.settings.failures = count.max(1);
        self
    }

    /// Sets how long a circuit stays open before the first trial. After the same time, but at least
    /// 1 s, a trial that is still running no longer keeps others out. The default is 60 s.
    pub fn open_for(mut self, time: Duration) -> Self {
        self.settings.open_for = time.min(MAX_TIMEOUT);
        self
    }

    /// Sets how many trials must succeed to close a circuit. The default is 2, and the minimum is
    /// 1.
    pub fn successes(mut self, count: u32) -> Self {
        self.settings.successes = count.max(1);
        self
    }

    /// Sets how many trials may run at a time. The default is 1, and the minimum is 1.
    pub fn trials(mut self, count: u32) -> Self {
        self.settings.trials = count.max(1);
        self
    }

    /// Returns the state of the circuit of an agent.
    #[must_use]
    pub fn state(&self, agent: &str) -> CircuitState {
        let target = Target {
            kind: Kind::Agent,
            name: agent,
        };
        let circuits = self.circuits.lock();
        circuits
            .find(target)
            .map_or(CircuitState::Closed, Circuit::state)
    }

    fn admit<'a, 'n>(
        &'a self,
        target: Target<'n>,
        context: &RequestContext,
    ) -> Result<Request<'a, 'n>, AgentError> {
        let admitted = self.circuits.lock().of(target).admit(&self.settings);
        let ticket = admitted.map_err(|retry_after| {
            context
                .observers()
                .layer_acted(LAYER, "refused", target.name);
            let text = format!("{target} has failed repeatedly and is not called at present");
            unavailable("circuit_open", text, retry_after)
        })?;
        Ok(Request {
            breaker: self,
            target,
            ticket: Some(ticket),
            deadline: context.deadline(),
            observers: context.observers().clone(),
        })
    }
}

/// A request that the agent works on. Dropping it releases its trial.
struct Request<'a, 'n> {
    breaker: &'a CircuitBreaker,
    target: Target<'n>,
    /// Taken when the outcome is recorded.
    ticket: Option<Ticket>,
    deadline: Option<Instant>,
    observers: Observers,
}

impl Request<'_, '_> {
    /// Records the outcome of the only answer.
    fn observe<T>(
        mut self,
        work: impl Future<Output = Result<T, AgentError>>,
    ) -> impl Future<Output = Result<T, AgentError>> {
        Seen::new(work, move |answer| self.answered(answer))
    }

    /// Records the first answer. Later answers are ignored, except for a failure of a stream.
    fn answered<T>(&mut self, answer: &Result<T, AgentError>) {
        let outcome = match answer {
            Err(error) if is_out_of_time(error, self.deadline) => Outcome::Unknown,
            Err(error) if is_fault(error) => Outcome::Failure,
            _ => Outcome::Success,
        };
        self.record(outcome);
    }

    fn record(&mut self, outcome: Outcome) {
        let Some(ticket) = self.ticket.take() else {
            return;
        };
        let settings = &self.breaker.settings;
        let mut circuits = self.breaker.circuits.lock();
        let changed = circuits.of(self.target).record(ticket, outcome, settings);
        drop(circuits);
        let target = self.target;
        match changed {
            Some(CircuitState::Open) => {
                let open_for = settings.open_for;
                tracing::warn!(%target, ?open_for, "circuit opened");
                self.observers.layer_acted(LAYER, "opened", target.name);
            }
            Some(CircuitState::Closed) => {
                tracing::info!(%target, "circuit closed");
                self.observers.layer_acted(LAYER, "closed", target.name);
            }
            _ => {}
        }
    }
}

impl Drop for Request<'_, '_> {
    fn drop(&mut self) {
        self.record(if thread::panicking() {
            Outcome::Failure
        } else {
            Outcome::Unknown
        });
    }
}

impl Layer for CircuitBreaker {
    fn process<A: Agent>(
        &self,
        message: Message,
        context: RequestContext,
        next: &Arc<A>,
    ) -> impl Future<Output = Result<Message, AgentError>> + Send {
        match self.admit(Target::agent(next), &context) {
            Ok(request) => Either::Left(request.observe(next.process(message, context))),
            Err(error) => Either::Right(ready(Err(error))),
        }
    }

    fn stream<A: Agent>(
        &self,
        message: Message,
        context: RequestContext,
        next: &Arc<A>,
    ) -> impl Stream<Item = Result<Message, AgentError>> + Send {
        stream! {
            let mut request = match self.admit(Target::agent(next), &context) {
                Ok(request) => request,
                Err(error) => {
                    yield Err(error);
                    return;
                }
            };
            let mut answers = pin!(next.stream(message, context));
            loop {
                match answers.next().await {
                    Some(answer) => {
                        request.answered(&answer);
                        yield answer;
                    }
                    // An empty stream is an answer as well.
                    None => {
                        request.record(Outcome::Success);
                        return;
                    }
                }
            }
        }
    }

    fn execute<T: Tool>(
        &self,
        kwargs: Map,
        context: RequestContext,
        next: &Arc<T>,
    ) -> impl Future<Output = Result<ToolResult, AgentError>> + Send {
        match self.admit(Target::tool(next), &context) {
            Ok(request) => Either::Left(request.observe(next.execute(kwargs, context))),
            Err(error) => Either::Right(ready(Err(error))),
        }
    }
}

const LAYER: &str = "circuit_breaker";

#[cfg(test)]
mod tests {
    use agentwire_codec::{ErrorCode, Value};
    use futures_util::{FutureExt, future, stream};
    use tokio::time::{advance, sleep, timeout};

    use super::*;
    use crate::{agent_fn, layer::Timeout, stream_fn};

    const SECOND: Duration = Duration::from_secs(1);

    /// Fails with the code in the message, or never answers.
    async fn obey(message: Message) -> Result<Message, AgentError> {
        match message.text() {
            Some("hang") => future::pending().await,
            Some("panic") => panic!("as the message says"),
            Some(code) => Err(AgentError::with_code(code, "as the message says")),
            None => Ok(message),
        }
    }

    fn refusal(error: &AgentError) -> Option<u64> {
        let details = error.details();
        let is_refusal = details.get("reason") == Some(&Value::from("circuit_open"));
        is_refusal.then(|| details["retry_after_ms"].as_u64().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn only_faults_of_the_agent_open_the_circuit() {
        for (text, opens) in [
            ("INTERNAL_ERROR", true),
            ("AGENT_UNAVAILABLE", true),
            ("AGENT_TIMEOUT", true),
            ("CONNECTION_CLOSED", true),
            ("TEXT_ONLY", false),
            ("INVALID_MESSAGE", false),
            ("PERMISSION_DENIED", false),
            ("RATE_LIMITED", false),
            ("TOOL_NOT_FOUND", false),
        ] {
            let breaker = Arc::new(CircuitBreaker::new());
            let agent = agent_fn("a", obey).layer(Arc::clone(&breaker));
            for _ in 0..5 {
                assert_eq!(breaker.state("a"), CircuitState::Closed);
                let error = agent
                    .process(Message::user(text), RequestContext::new())
                    .await;
                assert_eq!(error.unwrap_err().code().as_str(), text);
            }
            let is_open = breaker.state("a") == CircuitState::Open;
            assert_eq!(is_open, opens, "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_timeout_counts_unless_it_is_the_deadline_of_the_request() {
        let breaker = Arc::new(CircuitBreaker::new().failures(1));
        let agent = agent_fn("a", obey)
            .layer(Timeout::new().total(2 * SECOND))
            .layer(Arc::clone(&breaker));
        let context = RequestContext::new().with_deadline(Instant::now() + SECOND);
        let inherited = agent_fn(
            "b",
            |message: Message, context: RequestContext| async move {
                sleep(context.remaining().unwrap()).await;
                drop(message);
                Err(AgentError::with_code(ErrorCode::AGENT_TIMEOUT, "late"))
            },
        );
        let inherited = inherited.layer(Arc::clone(&breaker));
        inherited
            .process(Message::user(1), context)
            .await
            .unwrap_err();
        assert_eq!(breaker.state("b"), CircuitState::Closed);
        let call = agent.process(Message::user("hang"), RequestContext::new());
        call.await.unwrap_err();
        assert_eq!(breaker.state("a"), CircuitState::Open);
    }

    #[tokio::test(start_paused = true)]
    async fn trials_are_limited_and_released_by_callers_that_leave() {
        let breaker = Arc::new(CircuitBreaker::new().failures(1).open_for(10 * SECOND));
        let agent = agent_fn("a", obey).layer(Arc::clone(&breaker));
        let call = |content: Value| agent.process(Message::user(content), RequestContext::new());
        call("INTERNAL_ERROR".into()).await.unwrap_err();
        advance(3 * SECOND).await;
        assert_eq!(refusal(&call(1.into()).await.unwrap_err()), Some(7000));
        advance(7 * SECOND).await;
        assert_eq!(breaker.state("a"), CircuitState::HalfOpen);
        let mut trial = Box::pin(call("hang".into()));
        assert!(trial.as_mut().now_or_never().is_none());
        assert_eq!(refusal(&call(1.into()).await.unwrap_err()), Some(1000));
        drop(trial);
        call(1.into()).await.unwrap();
        assert_eq!(breaker.state("a"), CircuitState::HalfOpen);
        call(1.into()).await.unwrap();
        assert_eq!(breaker.state("a"), CircuitState::Closed);
        // A panic is a failure.
        let panic = std::panic::AssertUnwindSafe(call("panic".into())).catch_unwind();
        assert!(panic.await.is_err());
        assert_eq!(breaker.state("a"), CircuitState::Open);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_counts_by_its_first_answer_and_agents_are_apart() {
        let breaker = Arc::new(CircuitBreaker::new().failures(1));
        let streams = stream_fn("s", |message: Message| match message.text() {
            Some("hang") => stream::pending().left_stream(),
            Some(_) => stream::iter([obey(message).now_or_never().unwrap()])
                .left_stream()
                .right_stream(),
            None => stream::iter([]).right_stream().right_stream(),
        });
        let streams = streams.layer(Arc::clone(&breaker));
        let agent = agent_fn("a", obey).layer(Arc::clone(&breaker));
        let count = |content: Value| {
            let answers = streams.stream(Message::user(content), RequestContext::new());
            timeout(SECOND, answers.count())
        };
        assert!(count("hang".into()).await.is_err());
        assert_eq!(count(1.into()).await, Ok(0));
        assert_eq!(breaker.state("s"), CircuitState::Closed);
        assert_eq!(count("INTERNAL_ERROR".into()).await, Ok(1));
        assert_eq!(breaker.state("s"), CircuitState::Open);
        agent
            .process(Message::user(1), RequestContext::new())
            .await
            .unwrap();
    }
}
