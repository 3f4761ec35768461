//! Connections of HTTP/2 and requests on them, for HTTP and for gRPC.
//!
//! The crate `h2` is driven without a library above it, so that the head and the body of a small
//! request are one write, and no task is started for a request.

use std::{
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
};

use agentwire_codec::FrameError;
use agentwire_transport::Connection;
use bytes::Bytes;
use h2::{
    Reason, RecvStream, SendStream,
    client::{Builder, ResponseFuture, SendRequest},
};
use http::{Request, Response};

use super::{
    failure::Failure,
    wire::{Shared, Wire},
};

/// An open connection: the handle that sends requests, the future that drives the connection, and
/// the bytes below it.
pub(super) type Opened = (
    SendRequest<Bytes>,
    h2::client::Connection<Wire, Bytes>,
    Arc<Shared>,
);

/// Starts HTTP/2 on a connection that `max_calls` calls share.
///
/// # Errors
///
/// Returns an error if the start cannot be written.
pub(super) async fn open(connection: Connection, max_calls: usize) -> Result<Opened, h2::Error> {
    let (wire, shared) = Wire::new(connection);
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        // A frame is a write of its sender.
        .max_frame_size(MAX_FRAME)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(connection_window(max_calls))
        .max_header_list_size(MAX_HEADERS);
    let (sender, connection) = builder.handshake(wire).await?;
    Ok((sender, connection, shared))
}

/// Returns what the server may send of all answers that their callers have not read. Every answer
/// has its whole window, so that callers that do not read cannot stop the answers to others.
fn connection_window(max_calls: usize) -> u32 {
    let calls = u32::try_from(max_calls.max(1)).unwrap_or(u32::MAX);
    STREAM_WINDOW.saturating_mul(calls).min(MAX_WINDOW)
}

/// When the task of a connection runs. On a connection with several calls, the task lets other
/// tasks run first whenever it is woken, so that the requests of several calls are one write.
#[derive(Debug, Default)]
pub(super) struct Turn {
    has_yielded: bool,
}

impl Turn {
    /// Returns `Ready` if the connection may be polled.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, in_flight: usize) -> Poll<()> {
        self.has_yielded = !self.has_yielded && in_flight > 1;
        if !self.has_yielded {
            return Poll::Ready(());
        }
        // Tokio runs a task that wakes itself after all others that are ready.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// The reason why a request has no answer.
#[derive(Debug)]
pub(super) struct Unanswered {
    error: h2::Error,
    /// Whether the server may have seen the whole request.
    is_sent: bool,
}

/// Sends a request, and waits for the head of its answer. The server may answer before it has read
/// the whole request. `is_sent` is set when the whole request was queued.
///
/// # Errors
///
/// Returns an error if the stream or its connection has failed.
pub(super) async fn exchange(
    mut sender: SendRequest<Bytes>,
    head: Request<()>,
    body: Bytes,
    is_sent: &mut bool,
) -> Result<Response<RecvStream>, Unanswered> {
    let unsent = |error| Unanswered {
        error,
        is_sent: false,
    };
    let (mut response, mut stream) = sender.send_request(head, false).map_err(unsent)?;
    let answered = {
        let mut sending = pin!(send_all(&mut stream, body));
        tokio::select! {
            biased;
            sent = &mut sending => match sent {
                Ok(()) => None,
                // The answer tells why the server has stopped to read.
                Err(None) => None,
                Err(Some(error)) if error.is_reset() => None,
                Err(Some(error)) => return Err(unsent(error)),
            },
            answered = &mut response => Some(answered),
        }
    };
    *is_sent = true;
    let answered = match answered {
        Some(answered) => answered,
        None => received(&mut response).await,
    };
    answered.map_err(|error| Unanswered {
        error,
        is_sent: true,
    })
}

async fn received(response: &mut ResponseFuture) -> Result<Response<RecvStream>, h2::Error> {
    poll_fn(|cx| Pin::new(&mut *response).poll(cx)).await
}

/// Sends the body of a request, and ends the stream.
///
/// # Errors
///
/// Returns an error if the stream has ended, with its cause if there is one.
async fn send_all(
    stream: &mut SendStream<Bytes>,
    mut bytes: Bytes,
) -> Result<(), Option<h2::Error>> {
    if bytes.len() <= MAX_UNASKED {
        // A new stream has no capacity until its head was sent. Without a wait, the head and the
        // body are one write.
        return stream.send_data(bytes, true).map_err(Some);
    }
    while !bytes.is_empty() {
        stream.reserve_capacity(bytes.len());
        if stream.capacity() == 0 {
            match poll_fn(|cx| stream.poll_capacity(cx)).await {
                Some(Ok(_)) => continue,
                Some(Err(error)) => return Err(Some(error)),
                None => return Err(None),
            }
        }
        let part = bytes.split_to(stream.capacity().min(bytes.len()));
        stream.send_data(part, bytes.is_empty()).map_err(Some)?;
    }
    Ok(())
}

impl Unanswered {
    /// Returns the error of a request that no connection has taken.
    #[cfg(feature = "http")]
    pub(super) fn unsent(error: h2::Error) -> Self {
        Self {
            error,
            is_sent: false,
        }
    }

    /// Returns the failure of an attempt. `violation` is the failure if the server has violated the
    /// rules of HTTP/2.
    pub(super) fn into_failure(self, violation: impl FnOnce(h2::Error) -> Failure) -> Failure {
        failure(self.error, self.is_sent, violation)
    }
}

/// Returns the failure of an attempt whose stream or connection has failed. `violation` is the
/// failure if the server has violated the rules of HTTP/2.
pub(super) fn failure(
    error: h2::Error,
    is_sent: bool,
    violation: impl FnOnce(h2::Error) -> Failure,
) -> Failure {
    // The server says that it has not processed the request.
    let is_refused = error.reason() == Some(Reason::REFUSED_STREAM)
        || error.is_go_away() && error.is_remote() && error.reason() == Some(Reason::NO_ERROR);
    // What this side notices is a violation by the peer.
    if error.is_library() && !is_refused {
        return violation(error);
    }
    let error = if error.is_io() {
        error
            .into_io()
            .unwrap_or_else(|| io::ErrorKind::BrokenPipe.into())
    } else {
        io::Error::new(io::ErrorKind::ConnectionReset, error)
    };
    if is_refused || !is_sent {
        Failure::Unsent(error)
    } else {
        Failure::Broken(Some(FrameError::Io(error)))
    }
}

const MAX_FRAME: u32 = 64 * 1024;

/// What the server may send of one answer that its caller has not read.
const STREAM_WINDOW: u32 = 1024 * 1024;

/// The largest window (RFC 9113, section 6.9.1).
const MAX_WINDOW: u32 = (1 << 31) - 1;

const MAX_HEADERS: u32 = 64 * 1024;

/// The size of a request that is queued although the server may not read it yet. Its bytes are in
/// memory in any case.
const MAX_UNASKED: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_task_of_several_calls_lets_others_run_first() {
        let cx = &mut Context::from_waker(std::task::Waker::noop());
        let mut turn = Turn::default();
        for in_flight in [0, 1, 1] {
            assert!(turn.poll(cx, in_flight).is_ready(), "{in_flight}");
        }
        for _ in 0..3 {
            assert!(turn.poll(cx, 2).is_pending());
            assert!(turn.poll(cx, 2).is_ready());
        }
        assert!(turn.poll(cx, 2).is_pending());
        assert!(turn.poll(cx, 1).is_ready());
    }

    #[test]
    fn a_connection_has_room_for_the_windows_of_all_its_answers() {
        for (calls, window) in [(0, 1), (1, 1), (64, 64), (2047, 2047)] {
            assert_eq!(connection_window(calls), window * STREAM_WINDOW);
        }
        for calls in [2048, usize::MAX] {
            assert_eq!(connection_window(calls), MAX_WINDOW);
        }
    }
}
