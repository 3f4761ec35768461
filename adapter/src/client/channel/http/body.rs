//! The bodies of answers of either version of HTTP: [`AnswerBody`].

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::RecvStream;
use http::{HeaderMap, header::CONTENT_LENGTH};
use http_body::Body;
use hyper::body::Incoming;

use super::failure::{broken, broken_stream};
use crate::client::channel::failure::Failure;

/// The body of an answer, which is being received.
#[derive(Debug)]
pub(super) enum AnswerBody {
    Http1(Incoming),
    Http2(RecvStream),
}

impl AnswerBody {
    /// Receives the next bytes, or `None` at the end of the body.
    pub(super) fn poll_data(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Failure>>> {
        match self {
            Self::Http1(body) => loop {
                match ready!(Pin::new(&mut *body).poll_frame(cx)) {
                    None => return Poll::Ready(None),
                    Some(Err(error)) => return Poll::Ready(Some(Err(broken(error)))),
                    Some(Ok(frame)) => {
                        // Trailers have no meaning.
                        if let Ok(data) = frame.into_data() {
                            return Poll::Ready(Some(Ok(data)));
                        }
                    }
                }
            },
            Self::Http2(stream) => match ready!(stream.poll_data(cx)) {
                None => Poll::Ready(None),
                Some(Err(error)) => Poll::Ready(Some(Err(broken_stream(error)))),
                Some(Ok(data)) => {
                    // The whole answer is read, so the server may send more. An error means that
                    // the stream has ended, which the next poll tells.
                    let _ = stream.flow_control().release_capacity(data.len());
                    Poll::Ready(Some(Ok(data)))
                }
            },
        }
    }

    /// Returns whether the end of the body is known to have been read.
    pub(super) fn has_ended(&self) -> bool {
        match self {
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(stream) => stream.is_end_stream(),
        }
    }

    /// Returns the body of HTTP/1.1 if its end has not been read.
    pub(super) fn into_rest(self) -> Option<Incoming> {
        match self {
            Self::Http1(body) if !body.is_end_stream() => Some(body),
            _ => None,
        }
    }
}

/// Returns the size of a body, if its headers tell.
pub(super) fn announced_len(headers: &HeaderMap) -> Option<usize> {
    let len = headers.get(CONTENT_LENGTH)?.to_str().ok()?;
    len.parse().ok()
}
