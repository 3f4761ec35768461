//! A WebSocket connection: what is read and written, and how it ends.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use super::{
    fault::WebSocketFault,
    header::Role,
    keepalive::{Keepalive, Silence},
    options::{FragmentBudget, WebSocketOptions},
    progress::Progress,
    reader::{CloseFrame, Reader, Step},
    writer::Writer,
};
use crate::{Connection, Peer, PeerState, WebSocketError};

/// A WebSocket connection after its handshake, without the tasks that read and write it.
#[derive(Debug)]
pub(super) struct Socket {
    connection: Connection,
    reader: Reader,
    writer: Writer,
    keepalive: Keepalive,
    fragments: FragmentBudget,
    progress: Progress,
    role: Role,
    /// Whether the peer has sent its close frame or closed the connection.
    has_ended: bool,
    /// The close frame of the peer.
    close: Option<CloseFrame>,
    failure: Option<Failure>,
    /// The error that the next read reports.
    deferred: Option<io::Error>,
    /// The task that waits until it can write.
    writing: Option<Waker>,
}

/// A fault of the peer. The connection stays open until the peer has read the close frame.
#[derive(Debug)]
struct Failure {
    fault: WebSocketFault,
    deadline: Pin<Box<Sleep>>,
    is_reported: bool,
}

impl Socket {
    pub(super) fn new(
        connection: Connection,
        role: Role,
        options: &WebSocketOptions,
        received: &[u8],
    ) -> Self {
        Self {
            connection,
            reader: Reader::new(role, options, received),
            writer: Writer::new(role),
            keepalive: Keepalive::new(options.ping_interval, options.pong_timeout),
            fragments: options.fragments.clone(),
            progress: Progress::new(options.message_timeout),
            role,
            has_ended: false,
            close: None,
            failure: None,
            deferred: None,
            writing: None,
        }
    }

    pub(super) fn peer(&self) -> Peer {
        self.connection.peer().clone()
    }

    pub(super) fn peer_state(&mut self, cx: &mut Context<'_>) -> PeerState {
        match self.connection.peer_state(cx) {
            // After a close frame, the peer accepts no messages.
            _ if self.close.is_some() => PeerState::Closed,
            PeerState::Open if self.has_ended => PeerState::Ended,
            found => found,
        }
    }

    /// Reads until bytes can be delivered. Returns false at the end of the stream.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        loop {
            if self.failure.is_some() {
                return self.poll_failure(cx).map(Err);
            }
            if let Some(frame) = &self.close {
                let end = self.ended_by(frame);
                self.poll_end(cx);
                return Poll::Ready(end.map(|()| false));
            }
            match self.reader.advance(&self.fragments) {
                Ok(Step::Deliver) => return Poll::Ready(Ok(true)),
                Ok(Step::Ping(payload)) => self.writer.pong(payload),
                Ok(Step::Pong) => {}
                Ok(Step::Close(frame)) => {
                    self.has_ended = true;
                    self.writer.close(frame.code, &frame.reason);
                    self.close = Some(frame);
                }
                Ok(Step::NeedBytes) if self.has_ended => return Poll::Ready(Ok(false)),
                Ok(Step::NeedBytes) => match self.poll_fill(cx) {
                    Poll::Ready(Ok(0)) => {
                        self.has_ended = true;
                        if !self.reader.is_between_messages() {
                            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                        }
                    }
                    Poll::Ready(Ok(_)) => {}
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => {
                        if self.poll_silence(cx) {
                            return Poll::Pending;
                        }
                    }
                },
                Err(fault) => self.fail(fault),
            }
        }
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let raw = self.reader.raw();
        let mut buf = ReadBuf::new(raw.read_space());
        let read = Pin::new(&mut self.connection).poll_read(cx, &mut buf);
        let count = buf.filled().len();
        match read {
            Poll::Ready(Ok(())) => {
                raw.filled(count);
                if count > 0 {
                    self.keepalive.alive();
                }
                Poll::Ready(Ok(count))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                raw.release();
                Poll::Pending
            }
        }
    }

    /// Sends what is due while nothing arrives. Returns whether to wait.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.progress.poll(cx, self.reader.collected()) {
            self.fail(WebSocketFault::TooSlow);
            return false;
        }
        match self.keepalive.poll(cx) {
            Silence::Short => {}
            Silence::Ping => self.writer.ping(),
            Silence::Dead => {
                self.fail(WebSocketFault::PingTimeout);
                return false;
            }
        }
        self.poll_answer(cx);
        true
    }

    /// Answers the close frame of the peer, and ends the output. A peer that stops waits for both.
    fn poll_end(&mut self, cx: &mut Context<'_>) {
        self.poll_answer(cx);
        if self.writer.queued().is_empty() {
            let _ = Pin::new(&mut self.connection).poll_shutdown(cx);
        }
    }

    /// Writes control frames on behalf of the reader.
    fn poll_answer(&mut self, cx: &mut Context<'_>) {
        // A write that fails is reported to the next writer.
        if self.poll_write_control(cx).is_pending() {
            // The socket now wakes the reader, so the writer has to register itself again. It
            // writes the control frames, too.
            if let Some(writing) = self.writing.take() {
                writing.wake();
            }
        }
    }

    /// Returns the result of a read after the close frame of the peer.
    fn ended_by(&self, frame: &CloseFrame) -> io::Result<()> {
        match (self.role, frame.code) {
            // A client leaves with any code it likes.
            (Role::Server, _) | (Role::Client, None | Some(1000 | 1001)) => Ok(()),
            (Role::Client, Some(code)) => Err(WebSocketError::ClosedBy {
                code,
                reason: frame.reason.clone().into(),
            }
            .into()),
        }
    }

    /// Processes control frames as long as no message arrives.
    pub(super) fn poll_control(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if self.failure.is_some() || self.has_ended {
            return Poll::Ready(Ok(false));
        }
        self.poll_ready(cx)
    }

    fn fail(&mut self, fault: WebSocketFault) {
        self.writer
            .close(Some(fault.close_code()), &fault.to_string());
        self.failure = Some(Failure {
            fault,
            deadline: Box::pin(sleep_until(Instant::now() + FAREWELL)),
            is_reported: false,
        });
    }

    /// Sends the close frame, and discards what the peer still sends: if a socket is closed with
    /// unread bytes, the peer may lose the close frame.
    fn poll_failure(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let Some(failure) = &mut self.failure else {
            return Poll::Pending;
        };
        let fault = failure.fault;
        if failure.is_reported || failure.deadline.as_mut().poll(cx).is_ready() {
            failure.is_reported = true;
            return Poll::Ready(fault.into());
        }
        let farewell = match self.poll_write_control(cx) {
            Poll::Ready(Ok(())) => Pin::new(&mut self.connection).poll_shutdown(cx),
            other => other,
        };
        let discarded = match farewell {
            Poll::Ready(Ok(())) => self.poll_discard(cx),
            Poll::Ready(Err(_)) => Poll::Ready(()),
            Poll::Pending => Poll::Pending,
        };
        ready!(discarded);
        if let Some(failure) = &mut self.failure {
            failure.is_reported = true;
        }
        Poll::Ready(fault.into())
    }

    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut discarded = vec![0; DISCARD_SIZE];
        loop {
            let mut buf = ReadBuf::new(&mut discarded);
            match ready!(Pin::new(&mut self.connection).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => {}
                _ => return Poll::Ready(()),
            }
        }
    }

    /// Writes the queue, and control frames if no message is incomplete.
    fn poll_write_control(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer.queue_control();
        self.poll_write_queue(cx)
    }

    fn poll_write_queue(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.writer.queued().is_empty() {
            let write = Pin::new(&mut self.connection).poll_write(cx, self.writer.queued());
            match ready!(write)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => {
                    self.writer.advance(count);
                    self.delivered();
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Records that the connection took bytes. While a message is incomplete, a ping has to wait,
    /// so a peer that reads a large message is not silent.
    fn delivered(&mut self) {
        if self.writer.is_in_message() {
            self.keepalive.alive();
        }
    }

    /// Delivers the frames of messages, each behind its length.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(error) = self.deferred.take() {
            return Poll::Ready(Err(error));
        }
        let before = buf.filled().len();
        loop {
            let has_delivered = buf.filled().len() > before;
            let ready = match self.poll_ready(cx) {
                Poll::Pending if has_delivered => return Poll::Ready(Ok(())),
                Poll::Pending => return Poll::Pending,
                // A read that fails must not deliver bytes.
                Poll::Ready(Err(error)) if has_delivered => {
                    self.deferred = Some(error);
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(ready) => ready?,
            };
            if !ready || buf.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            let start = buf.filled().len();
            match self.reader.deliver(buf) {
                Ok(true) => {
                    // Waiting for more would delay a message that is complete.
                    if buf.remaining() == 0 || !self.reader.has_more() {
                        return Poll::Ready(Ok(()));
                    }
                }
                Ok(false) => {
                    if buf.filled().len() > before {
                        return Poll::Ready(Ok(()));
                    }
                    return self.poll_direct(cx, buf);
                }
                Err(fault) => {
                    // The rest of the message is wrong.
                    buf.set_filled(start);
                    self.fail(fault);
                }
            }
        }
    }

    /// Reads a payload into the buffer of the reader.
    fn poll_direct(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let limit = self.reader.direct().min(buf.remaining());
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(limit));
        let read = Pin::new(&mut self.connection).poll_read(cx, &mut part);
        let count = part.filled().len();
        match read {
            Poll::Ready(Ok(())) if count == 0 => {
                self.has_ended = true;
                Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()))
            }
            Poll::Ready(Ok(())) => {
                self.keepalive.alive();
                match self.reader.received(part.filled_mut()) {
                    Ok(()) => {
                        buf.advance(count);
                        Poll::Ready(Ok(()))
                    }
                    Err(fault) => {
                        self.fail(fault);
                        self.poll_failure(cx).map(Err)
                    }
                }
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                if self.poll_silence(cx) {
                    Poll::Pending
                } else {
                    self.poll_failure(cx).map(Err)
                }
            }
        }
    }

    /// Takes frames and writes their payloads as messages.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.writer.space() == 0 {
            ready!(self.poll_write_queue(cx))?;
        }
        let mut taken = self.writer.push(bytes);
        let rest = &bytes[taken..];
        // The queue goes first, also when there is nothing more to add.
        if let Poll::Ready(written) = self.poll_write_queue(cx) {
            written?;
            let direct = self.writer.direct(rest.len());
            if direct > 0 {
                match Pin::new(&mut self.connection).poll_write(cx, &rest[..direct]) {
                    Poll::Ready(Ok(count)) => {
                        self.writer.skip(count);
                        self.delivered();
                        taken += count;
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => {}
                }
            }
        }
        if taken == 0 && !bytes.is_empty() {
            return Poll::Pending;
        }
        Poll::Ready(Ok(taken))
    }

    /// Remembers the task that waits until it can write.
    pub(super) fn record_writer(&mut self, cx: &Context<'_>, is_pending: bool) {
        self.writing = is_pending.then(|| cx.waker().clone());
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write_control(cx))?;
        Pin::new(&mut self.connection).poll_flush(cx)
    }

    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // RFC 6455, section 7.4.1: a server that stops is going away.
        let code = match self.role {
            Role::Client => 1000,
            Role::Server => 1001,
        };
        self.writer.close(Some(code), "");
        ready!(self.poll_write_control(cx))?;
        Pin::new(&mut self.connection).poll_shutdown(cx)
    }
}

/// How long a peer may take to read the close frame after its fault.
const FAREWELL: Duration = Duration::from_secs(2);

/// The size of the buffer for bytes that are discarded.
const DISCARD_SIZE: usize = 8 * 1024;
