//! The answers of a streaming call.

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

/// The answers of an agent to one message, as they arrive. Made by [`RemoteAgent::stream`].
///
/// It ends after the agent's last answer or after the first error.
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

    /// Waits for the next answer; `None` after the last.
    ///
    /// # Errors
    ///
    /// Any [`Error`] of a call. Nothing follows it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing; call it again.
    pub async fn next(&mut self) -> Option<Result<Message, Error>> {
        self.answers.next().await
    }
}

fn answers(
    call: Result<Call, Error>,
    total: Option<Duration>,
) -> impl Stream<Item = Result<Message, Error>> + Send + 'static {
    // An error ends the call for the statistics, too, so the call is dropped before the error is
    // yielded.
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
                    return;
                }
                Body::Error(error) => {
                    answers.finish();
                    let error = call.remote(error);
                    drop(call);
                    yield Err(error);
                    return;
                }
                other => {
                    drop(answers);
                    let error = call.unexpected("'stream_chunk' or 'stream_end'", &other);
                    drop(call);
                    yield Err(error);
                    return;
                }
            }
            body = match call.next(&mut answers, limit).await {
                Ok(body) => body,
                Err(error) => {
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
