//! A caller: calls of every kind, one after the other, with checked replies.

use std::time::Duration;

use agentwire::{CallOptions, Error, Message, RemoteAgent, Value};
use fastrand::Rng;
use tokio::time::timeout;

use crate::{
    HANG_LIMIT,
    progress::Progress,
    tally::{Outcome, Tally},
};

/// Whether failures can reach the calls of a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exposure {
    /// Nothing breaks the connections, so each call must succeed.
    Safe,
    Exposed,
}

/// One of the callers that share a client.
pub(crate) struct Caller {
    pub(crate) remote: RemoteAgent,
    pub(crate) exposure: Exposure,
    pub(crate) number: u64,
    pub(crate) random: Rng,
}

impl Caller {
    /// Makes calls until the round is over.
    pub(crate) async fn call_until_over(mut self, progress: &Progress) -> Tally {
        let mut tally = Tally::default();
        let mut own = 0;
        while progress.continues(own) {
            own += 1;
            let text = format!("call {own} of caller {}", self.number);
            tally.count(self.call(&text).await);
        }
        tally
    }

    async fn call(&mut self, text: &str) -> Outcome {
        let limit = match (self.exposure, self.random.u8(..10)) {
            (Exposure::Safe, _) => HANG_LIMIT,
            (Exposure::Exposed, 0) => Duration::from_millis(self.random.u64(1..20)),
            (Exposure::Exposed, 1..6) => Duration::from_millis(self.random.u64(100..400)),
            (Exposure::Exposed, _) => Duration::from_secs(2),
        };
        let options = CallOptions::new().timeout(limit);
        let kind = self.random.u8(..20);
        let dropped_after = Duration::from_millis(self.random.u64(..10));
        let call = async {
            match kind {
                0 => match timeout(dropped_after, self.echo(text, &options)).await {
                    Ok(outcome) => outcome,
                    Err(_) => Outcome::Failed("dropped".into()),
                },
                1 | 2 => self.stream(text, &options).await,
                3 => self.fail(text, &options).await,
                _ => self.echo(text, &options).await,
            }
        };
        // The timeout of a stream is that of each chunk.
        let guard = limit * MAX_CHUNKS + HANG_LIMIT;
        match timeout(guard, call).await {
            Ok(outcome) => outcome,
            Err(_) => Outcome::Hung(format!("{text} has not ended after {guard:?}")),
        }
    }

    async fn echo(&mut self, text: &str, options: &CallOptions) -> Outcome {
        let mut message = Message::user(content(text, &mut self.random));
        if self.random.u8(..8) == 0 {
            let ms = self.random.u8(..6);
            message = message.with_metadata("do", "slow").with_metadata("ms", ms);
        }
        message = message.with_metadata("call", text);
        match self.remote.process_with(message.clone(), options).await {
            Ok(reply) if reply.content == message.content && reply.metadata == message.metadata => {
                Outcome::Replied("answered")
            }
            Ok(reply) => Outcome::Wrong(format!("{message:?} got {reply:?}")),
            Err(error) => self.failed(text, &error),
        }
    }

    async fn fail(&mut self, text: &str, options: &CallOptions) -> Outcome {
        let message = Message::user(text).with_metadata("do", "fail");
        match self.remote.process_with(message, options).await {
            Ok(reply) => Outcome::Wrong(format!("{text} got {reply:?}")),
            Err(error) => match error.remote() {
                Some(remote) if remote.message == format!("deliberate failure: {text}") => {
                    Outcome::Replied("failed as asked")
                }
                Some(remote) => Outcome::Wrong(format!("{text} failed with {remote:?}")),
                None => self.failed(text, &error),
            },
        }
    }

    async fn stream(&mut self, text: &str, options: &CallOptions) -> Outcome {
        let count = self.random.u32(..MAX_CHUNKS);
        let taken = self.random.u32(..2 * MAX_CHUNKS);
        let message = Message::user(text).with_metadata("count", count);
        let mut stream = self.remote.stream_with(message, options);
        let mut number = 0;
        while number < taken {
            match stream.next().await {
                Some(Ok(chunk)) if chunk.text() == Some(&format!("{text} #{number}")) => {
                    number += 1;
                }
                Some(Ok(chunk)) => {
                    return Outcome::Wrong(format!("chunk {number} of {text} is {chunk:?}"));
                }
                Some(Err(error)) => return self.failed(text, &error),
                None if number == count => return Outcome::Replied("streamed"),
                None => return Outcome::Wrong(format!("{text} got {number} of {count} chunks")),
            }
        }
        Outcome::Failed("stream dropped".into())
    }

    /// Returns the outcome of an error, which must be one that a lost connection can cause.
    fn failed(&self, text: &str, error: &Error) -> Outcome {
        let may_happen = error.is_timeout() || error.is_connect() || error.is_disconnected();
        if self.exposure == Exposure::Safe || !may_happen {
            return Outcome::Unexpected(format!("{text}: {error:#}"));
        }
        Outcome::Failed(error.code().as_str().to_owned().into())
    }
}

/// Returns a content that holds the text: mostly a small one, sometimes a large one.
fn content(text: &str, random: &mut Rng) -> Value {
    match random.u16(..400) {
        0 => format!("{text} {}", "x".repeat(random.usize(100_000..300_000))).into(),
        1..20 => format!("{text} {}", "ä\"\u{1f600}".repeat(random.usize(..1000))).into(),
        20..60 => {
            let mut list: Vec<Value> = vec![text.into()];
            list.extend((0..random.usize(..200)).map(|_| Value::from(random.i64(..) >> 8)));
            Value::List(list)
        }
        _ => text.into(),
    }
}

const MAX_CHUNKS: u32 = 6;
