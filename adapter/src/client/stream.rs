//! The stream of answers to a call: [`MessageStream`].

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use agentwire_codec::{Body, Message};
use async_stream::stream;
use futures_core::{Stream, stream::BoxStream};
use futures_util::StreamExt;

use super::call::{Call, TotalLimit};
use crate::Error;

/// A stream of an agent's answers to one message, returned by [`RemoteAgent::stream`].
///
/// The stream ends after the agent's last answer or after the first error.
///
/// ```
/// use agentwire::{LocalAgent, Message, RemoteAgent, stream_fn};
/// use futures_util::stream;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), agentwire::Error> {
/// let count = stream_fn("count", |_: Message| stream::iter((1..=3).map(|n| Ok(Message::agent(n)))));
/// let server = LocalAgent::serve(count, "memory://stream-page").await?;
///
/// let remote = RemoteAgent::new(server.endpoint())?;
/// let mut chunks = remote.stream(Message::user("go"));
/// let mut sum = 0;
/// while let Some(chunk) = chunks.next().await {
///     sum += chunk?.content.as_i64().unwrap_or(0);
/// }
/// assert_eq!(sum, 6);
/// # Ok(())
/// # }
/// ```
///
/// [`RemoteAgent::stream`]: crate::RemoteAgent::stream
#[must_use = "nothing is sent before the stream is polled"]
pub struct MessageStream {
    answers: BoxStream<'static, Result<Message, Error>>,
}

impl MessageStream {
    pub(super) fn new(call: Result<Call, Error>, total: Option<Duration>) -> Self {
        Self {
            answers: Box::pin(answers(call, total)),
        }
    }

    /// Waits for the next answer. Returns `None` after the last answer.
    ///
    /// # Errors
    ///
    /// Returns an [`Error`] if the call fails. The stream ends after an error.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe. If the future is dropped, no answer is lost.
    pub async fn next(&mut self) -> Option<Result<Message, Error>> {
        self.answers.next().await
    }
}

fn answers(
    call: Result<Call, Error>,
    total: Option<Duration>,
) -> impl Stream<Item = Result<Message, Error>> + Send + 'static {
    // Each call is dropped before its error is yielded, because the statistics must no longer count
    // the call at that point.
    stream! {
        let mut call = match call {
            Ok(call) => call,
            Err(error) => {
                yield Err(error);
                return;
            }
        };
        let limit = total.map(TotalLimit::new);
        let (mut answers, mut body) = match call.open(limit).await {
            Ok(opened) => opened,
            Err(error) => {
                drop(call);
                yield Err(error);
                return;
            }
        };
        loop {
            match body {
                Body::StreamChunk(message) => yield Ok(message),
                Body::StreamEnd => {
                    answers.finish();
                    call.answered(&Body::StreamEnd);
                    return;
                }
                Body::Error(error) => {
                    answers.finish();
                    let error = call.remote(error);
                    call.ended_with(&error);
                    drop(call);
                    yield Err(error);
                    return;
                }
                other => {
                    drop(answers);
                    let error = call.unexpected("'stream_chunk' or 'stream_end'", &other);
                    call.ended_with(&error);
                    drop(call);
                    yield Err(error);
                    return;
                }
            }
            body = match call.next(&mut answers, limit).await {
                Ok(body) => body,
                Err(error) => {
                    call.ended_with(&error);
                    drop(answers);
                    drop(call);
                    yield Err(error);
                    return;
                }
            };
        }
    }
}

impl Stream for MessageStream {
    type Item = Result<Message, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.answers.poll_next_unpin(cx)
    }
}

impl fmt::Debug for MessageStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageStream").finish_non_exhaustive()
    }
}
