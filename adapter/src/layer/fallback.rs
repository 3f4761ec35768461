//! A layer that asks other agents if one fails: [`Fallback`].

use std::{fmt, future::Future, pin::pin, sync::Arc};

use agentwire_codec::{ErrorCode, Message, Value, internal::repeatable_text, map};
use async_stream::stream;
use futures_core::Stream;
use futures_util::StreamExt;

use super::{Layer, fault::is_fault, future::OrElse};
use crate::{Agent, AgentError, RequestContext, SharedAgent};

/// A layer that asks other agents, in order, if an agent fails.
///
/// The next agent is asked if an agent does not work, is not available or cannot be found. Errors
/// that the caller has caused and errors with a code of the agent's own are answers. An agent that
/// fails may have worked on the request, so the request may have effects in several agents. A
/// stream falls back only before its first chunk. Tools have no fallback.
///
/// Each agent finds in the [extensions](RequestContext::extensions) of the context why the agents
/// before it were not used ([`FailedAttempts`]). If all agents fail, the caller receives the error
/// of the last one, with the list `attempts` in its details: the name, the code and the text of
/// each failure.
///
/// ```
/// use agentwire::{
///     Agent, AgentError, ErrorCode, Message, RequestContext, agent_fn,
///     layer::{FailedAttempts, Fallback},
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), AgentError> {
/// let large = agent_fn("large", |_: Message| async {
///     Err(AgentError::with_code(ErrorCode::AGENT_UNAVAILABLE, "no capacity"))
/// });
/// let small = agent_fn("small", |_: Message, context: RequestContext| async move {
///     let failed: &FailedAttempts = context.extensions().get().ok_or("asked directly")?;
///     Ok(Message::agent(format!("instead of {}", failed.attempts()[0].agent)))
/// });
/// let agent = large.layer(Fallback::to(small));
/// let reply = agent.process(Message::user("?"), RequestContext::new()).await?;
/// assert_eq!(reply.text(), Some("instead of large"));
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct Fallback {
    others: Vec<SharedAgent>,
    when: Option<Box<ErrorFilter>>,
}

type ErrorFilter = dyn Fn(&AgentError) -> bool + Send + Sync;

/// The agents that have failed before a [`Fallback`] asks the next one. The context of the request
/// carries this value in its extensions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FailedAttempts(Vec<FailedAttempt>);

/// An agent that has failed, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FailedAttempt {
    /// The name of the agent.
    pub agent: String,
    /// The code of the error.
    pub code: ErrorCode,
    /// The text of the error.
    pub message: String,
}

impl FailedAttempts {
    /// Returns the failures in the order in which the agents were asked.
    #[must_use]
    pub fn attempts(&self) -> &[FailedAttempt] {
        &self.0
    }

    fn push(&mut self, agent: &str, error: &AgentError) {
        tracing::debug!(agent, code = %error.code(), "falling back to the next agent");
        self.0.push(FailedAttempt {
            agent: agent.to_owned(),
            code: error.code().clone(),
            message: error.message().to_owned(),
        });
    }

    /// Adds the failures to the error of the last agent.
    fn explain(mut self, last: &str, error: AgentError) -> AgentError {
        if self.0.is_empty() {
            return error;
        }
        self.push(last, &error);
        let attempts = self.0.iter().map(|attempt| {
            map! {
                "agent": (&*attempt.agent),
                "error_code": (attempt.code.as_str()),
                "error_message": (&*repeatable_text(&attempt.message)),
            }
        });
        let mut details = error.details().clone();
        details.insert("attempts", attempts.collect::<Value>());
        error.with_details(details)
    }

    fn attach(&self, context: &RequestContext) -> RequestContext {
        let mut context = context.clone();
        context.extensions_mut().insert(self.clone());
        context
    }
}

impl Fallback {
    /// Creates a layer that asks `agent` if the wrapped agent fails.
    pub fn to(agent: impl Agent) -> Self {
        Self {
            others: vec![SharedAgent::new(agent)],
            when: None,
        }
    }

    /// Adds an agent that is asked if all agents before it fail.
    pub fn or(mut self, agent: impl Agent) -> Self {
        self.others.push(SharedAgent::new(agent));
        self
    }

    /// Sets after which errors the next agent is asked, instead of the default.
    pub fn when(mut self, filter: impl Fn(&AgentError) -> bool + Send + Sync + 'static) -> Self {
        self.when = Some(Box::new(filter));
        self
    }

    fn falls_back(&self, error: &AgentError) -> bool {
        match &self.when {
            Some(filter) => filter(error),
            None => {
                let elsewhere = [ErrorCode::AGENT_NOT_FOUND, ErrorCode::RATE_LIMITED];
                is_fault(error) || elsewhere.contains(error.code())
            }
        }
    }

    /// Asks the other agents after the first has failed.
    async fn ask_others(
        &self,
        mut error: AgentError,
        message: Message,
        context: RequestContext,
        first: &str,
    ) -> Result<Message, AgentError> {
        if !self.falls_back(&error) {
            return Err(error);
        }
        let mut failed = FailedAttempts::default();
        let mut last = first;
        fell_back(&context, last);
        for other in &self.others {
            failed.push(last, &error);
            last = other.name();
            match other
                .process(message.clone(), failed.attach(&context))
                .await
            {
                Ok(answer) => return Ok(answer),
                Err(other) if self.falls_back(&other) => error = other,
                Err(other) => return Err(failed.explain(last, other)),
            }
        }
        Err(failed.explain(last, error))
    }
}

impl Layer for Fallback {
    fn process<A: Agent>(
        &self,
        message: Message,
        context: RequestContext,
        next: &Arc<A>,
    ) -> impl Future<Output = Result<Message, AgentError>> + Send {
        let first = next.process(message.clone(), context.clone());
        OrElse::new(first, move |error| {
            self.ask_others(error, message, context, next.name())
        })
    }

    fn stream<A: Agent>(
        &self,
        message: Message,
        context: RequestContext,
        next: &Arc<A>,
    ) -> impl Stream<Item = Result<Message, AgentError>> + Send {
        stream! {
            let mut failed = FailedAttempts::default();
            let mut last = next.name();
            let mut error = {
                let mut answers = pin!(next.stream(message.clone(), context.clone()));
                match answers.next().await {
                    Some(Err(error)) if self.falls_back(&error) => error,
                    first => {
                        let mut answer = first;
                        while let Some(one) = answer {
                            yield one;
                            answer = answers.next().await;
                        }
                        return;
                    }
                }
            };
            fell_back(&context, last);
            for other in &self.others {
                failed.push(last, &error);
                last = other.name();
                let mut answers = pin!(other.stream(message.clone(), failed.attach(&context)));
                match answers.next().await {
                    Some(Err(other)) if self.falls_back(&other) => error = other,
                    Some(Err(other)) => {
                        error = other;
                        break;
                    }
                    first => {
                        let mut answer = first;
                        while let Some(one) = answer {
                            yield one;
                            answer = answers.next().await;
                        }
                        return;
                    }
                }
            }
            yield Err(failed.explain(last, error));
        }
    }
}

/// Reports that other agents are asked instead of one.
fn fell_back(context: &RequestContext, name: &str) {
    context
        .observers()
        .layer_acted("fallback", "fell_back", name);
}

impl fmt::Debug for Fallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fallback")
            .field("others", &self.others)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;
    use crate::{agent_fn, stream_fn};

    /// An agent that answers with its name, or fails with a code.
    fn agent(name: &'static str, code: &'static str) -> SharedAgent {
        SharedAgent::new(agent_fn(
            name,
            move |_: Message, context: RequestContext| {
                let failed = context.extensions().get::<FailedAttempts>();
                let failed = failed.map_or(0, |failed| failed.attempts().len());
                std::future::ready(match code {
                    "" => Ok(Message::agent(format!("{name} after {failed}"))),
                    code => Err(AgentError::with_code(code, format!("{name} failed"))),
                })
            },
        ))
    }

    /// An agent that streams its name a number of times, and then fails with a code.
    fn streaming(name: &'static str, chunks: usize, code: &'static str) -> SharedAgent {
        SharedAgent::new(stream_fn(name, move |_: Message| {
            let error = (!code.is_empty()).then(|| Err(AgentError::with_code(code, "failed")));
            stream::iter(
                (0..chunks)
                    .map(move |_| Ok(Message::agent(name)))
                    .chain(error),
            )
        }))
    }

    #[tokio::test]
    async fn agents_are_asked_in_order_until_one_answers() {
        const DOWN: &str = "AGENT_UNAVAILABLE";
        for (codes, expected) in [
            (["", "", ""], Ok("a after 0")),
            ([DOWN, "", ""], Ok("b after 1")),
            (["INTERNAL_ERROR", "AGENT_NOT_FOUND", ""], Ok("c after 2")),
            (["NO_TEXT", "", ""], Err(("NO_TEXT", 0))),
            ([DOWN, "NO_TEXT", ""], Err(("NO_TEXT", 2))),
            ([DOWN, DOWN, "RATE_LIMITED"], Err(("RATE_LIMITED", 3))),
        ] {
            let fallback = Fallback::to(agent("b", codes[1])).or(agent("c", codes[2]));
            let agent = agent("a", codes[0]).layer(fallback);
            match (
                agent.process(Message::user(1), RequestContext::new()).await,
                expected,
            ) {
                (Ok(answer), Ok(expected)) => assert_eq!(answer.text(), Some(expected)),
                (Err(error), Err((code, attempts))) => {
                    assert_eq!(error.code().as_str(), code);
                    let found = error.details().get("attempts").and_then(Value::as_list);
                    let found = found.unwrap_or_default();
                    assert_eq!(found.len(), attempts);
                    let names = found
                        .iter()
                        .map(|attempt| attempt["agent"].as_str().unwrap());
                    assert!(names.eq(["a", "b", "c"].into_iter().take(attempts)));
                    let reasons = found.iter().map(|one| one["error_code"].as_str().unwrap());
                    assert!(reasons.eq(codes.into_iter().take(attempts)));
                }
                (found, expected) => panic!("{found:?} instead of {expected:?}"),
            }
        }
    }

    #[tokio::test]
    async fn a_stream_falls_back_before_its_first_chunk_only() {
        const DOWN: &str = "AGENT_UNAVAILABLE";
        for (first, second, expected) in [
            ((2, ""), (1, ""), "aa"),
            ((0, ""), (1, ""), ""),
            ((0, DOWN), (2, ""), "bb"),
            ((1, DOWN), (2, ""), "a!"),
            ((0, DOWN), (1, DOWN), "b!"),
            ((0, DOWN), (0, DOWN), "!"),
            ((0, DOWN), (0, "NO_TEXT"), "!"),
        ] {
            let fallback = Fallback::to(streaming("b", second.0, second.1));
            let agent = streaming("a", first.0, first.1).layer(fallback);
            let answers = agent.stream(Message::user(1), RequestContext::new());
            let text: String = answers
                .map(|answer| answer.map_or("!".to_owned(), |answer| answer.content.to_string()))
                .collect()
                .await;
            assert_eq!(text.replace('"', ""), expected);
        }
    }
}
