use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use agentwire_codec::{Body, Message};
use agentwire_transport::internal::MAX_TIMEOUT;
use async_stream::stream;
use futures_core::{Stream, stream::BoxStream};
use futures_util::StreamExt;
use tokio::time::Instant;

use super::exchange::{Exchange, Limit};
use crate::Error;

/// The answers of an agent to one message, as they come. Made by [`RemoteAgent::stream`].
///
/// It ends after the agent's last answer or after the first error.
///
/// [`RemoteAgent::stream`]: crate::RemoteAgent::stream
#[must_use = "nothing is sent before the stream is polled"]
pub struct MessageStream {
    answers: BoxStream<'static, Result<Message, Error>>,
}

impl MessageStream {
    pub(super) fn new(exchange: Result<Exchange, Error>, total: Option<Duration>) -> Self {
        Self {
            answers: Box::pin(answers(exchange, total)),
        }
    }

    /// The next answer; `None` after the last.
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
    exchange: Result<Exchange, Error>,
    total: Option<Duration>,
) -> impl Stream<Item = Result<Message, Error>> + Send + 'static {
    // An error is the end, for whoever counts the calls, too: what the stream holds goes before it is told.
    stream! {
        let mut exchange = match exchange {
            Ok(exchange) => exchange,
            Err(error) => {
                yield Err(error);
                return;
            }
        };
        let limit = total.map(|total| Limit {
            at: Instant::now() + total.min(MAX_TIMEOUT),
            total,
        });
        let (mut lease, mut body) = match exchange.open(limit).await {
            Ok(started) => started,
            Err(error) => {
                drop(exchange);
                yield Err(error);
                return;
            }
        };
        loop {
            match body {
                Body::StreamChunk(message) => yield Ok(message),
                Body::StreamEnd => {
                    lease.release();
                    return;
                }
                Body::Error(error) => {
                    lease.release();
                    let error = exchange.remote(error);
                    drop(exchange);
                    yield Err(error);
                    return;
                }
                other => {
                    drop(lease);
                    let error = exchange.unexpected("'stream_chunk' or 'stream_end'", &other);
                    drop(exchange);
                    yield Err(error);
                    return;
                }
            }
            body = match exchange.next(&mut lease, limit).await {
                Ok(body) => body,
                Err(error) => {
                    drop(lease);
                    drop(exchange);
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
