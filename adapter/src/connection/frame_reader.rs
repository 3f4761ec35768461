//! The incoming frames of a connection, and the buffer that holds them.

use std::{
    io,
    ops::RangeInclusive,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use agentwire_codec::{FrameError, HEADER_LEN, check_eof, peek_frame, reserve_for_frame};
use agentwire_transport::Connection;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio_util::io::poll_read_buf;

use super::{buffer_pool, frame_log::FrameLog};

/// Reads frames from a connection.
///
/// The buffer starts with the first frame, which stays there until it is consumed or skipped.
#[derive(Debug)]
pub(super) struct FrameReader {
    /// The maximum length of a payload.
    max_len: usize,
    incoming: BytesMut,
    /// The total number of bytes that `poll_frame` has read.
    received: u64,
    /// Whether the last read filled the buffer.
    is_busy: bool,
    /// The size of the largest received frame that exceeds the maximum size of a pooled buffer, or
    /// 0 if there was no such frame.
    large_capacity: usize,
    /// The size of the frame that may be received, or `None` if every frame may be received.
    granted: Option<usize>,
    /// The number of bytes of a skipped frame that have not arrived.
    to_skip: usize,
}

impl FrameReader {
    pub(super) fn new(max_len: usize) -> Self {
        Self {
            max_len,
            incoming: BytesMut::new(),
            received: 0,
            is_busy: false,
            large_capacity: 0,
            granted: None,
            to_skip: 0,
        }
    }

    /// Requires a [grant](Self::grant) for each large frame.
    pub(super) fn require_grants(&mut self) {
        self.granted = Some(0);
    }

    /// Returns whether the buffer holds no bytes.
    pub(super) fn is_empty(&self) -> bool {
        self.incoming.is_empty()
    }

    /// Returns the total number of bytes of frames that have been received.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// Reads what has arrived, and returns the first bytes of the buffer.
    pub(super) fn peek<const N: usize>(&mut self, connection: &mut Connection) -> Option<[u8; N]> {
        let mut cx = Context::from_waker(Waker::noop());
        let _ = self.poll_more(&mut cx, connection);
        self.incoming.first_chunk().copied()
    }

    /// Returns the size of the first frame if the rest of the frame is only read after a
    /// [grant](Self::grant).
    pub(super) fn ungranted(&self) -> Option<usize> {
        let granted = self.granted?;
        let size = self.frame_size()?;
        let is_waiting = self.incoming.len() >= BUSY_READ_SIZE && self.incoming.len() < size;
        (is_waiting && size > granted).then_some(size)
    }

    /// Allows a frame of this size to be received.
    pub(super) fn grant(&mut self, size: usize) {
        self.granted = Some(size);
    }

    /// Returns the size of the first frame, with its header.
    fn frame_size(&self) -> Option<usize> {
        let header = self.incoming.first_chunk::<HEADER_LEN>()?;
        Some(HEADER_LEN + u32::from_be_bytes(*header) as usize)
    }

    /// Returns whether the connection keeps a read buffer for large frames.
    pub(super) fn has_large_buffer(&self) -> bool {
        self.large_capacity > 0
    }

    /// Returns whether the connection has a large read buffer that is empty.
    pub(super) fn has_excess_capacity(&self) -> bool {
        self.large_capacity > 0 && self.incoming.is_empty()
    }

    /// Frees the large read buffer if it is empty.
    pub(super) fn shrink(&mut self) {
        if self.has_excess_capacity() {
            self.incoming = BytesMut::new();
            self.large_capacity = 0;
        }
    }

    /// Waits for a whole frame and returns the length of its payload. Returns `None` at the end of
    /// the stream.
    ///
    /// The frame stays in the buffer until [`consume`](Self::consume) is called. If a whole frame
    /// is already buffered, nothing is read. If the frame needs a grant, this method returns
    /// `Pending` without registering a waker (see [`ungranted`](Self::ungranted)).
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
        connection: &mut Connection,
        mut log: Option<&mut FrameLog>,
    ) -> Poll<Result<Option<usize>, FrameError>> {
        loop {
            if self.to_skip > 0 {
                let arrived = self.to_skip.min(self.incoming.len());
                self.incoming.advance(arrived);
                self.to_skip -= arrived;
            }
            if self.to_skip > 0 {
                // The buffer is empty.
            } else if let Some(len) = peek_frame(&self.incoming, self.max_len)? {
                return Poll::Ready(Ok(Some(len)));
            }
            if self.ungranted().is_some() {
                return Poll::Pending;
            }
            self.reserve_read();
            let mut space = self.incoming.capacity() - self.incoming.len();
            if self.granted.is_some() && self.incoming.len() >= BUSY_READ_SIZE {
                // The grant covers only this frame.
                let size = self.frame_size().unwrap_or_default();
                space = space.min(size - self.incoming.len());
            }
            let before = self.incoming.len();
            let mut buffer = (&mut self.incoming).limit(space);
            let Poll::Ready(read) = poll_read_buf(Pin::new(&mut *connection), cx, &mut buffer)
            else {
                self.return_buffer();
                return Poll::Pending;
            };
            let read = read?;
            if read == 0 {
                return Poll::Ready(check_eof(&self.incoming).map(|()| None));
            }
            if let Some(log) = &mut log {
                log.received(connection.peer(), &self.incoming[before..]);
            }
            self.received += read as u64;
            self.is_busy = read == space;
        }
    }

    /// Reads more bytes into the buffer, whatever they are. Returns 0 at the end of the stream.
    fn poll_more(
        &mut self,
        cx: &mut Context<'_>,
        connection: &mut Connection,
    ) -> Poll<io::Result<usize>> {
        self.incoming.reserve(READ_SIZE);
        poll_read_buf(Pin::new(connection), cx, &mut self.incoming)
    }

    fn reserve_read(&mut self) {
        if self.incoming.capacity() == 0 {
            self.incoming = buffer_pool::take_read_buffer();
        }
        let len = self.incoming.len();
        if self.is_busy && len < BUSY_READ_SIZE {
            self.incoming.reserve(BUSY_READ_SIZE - len);
        } else if len == 0 {
            // Reclaims the space of consumed frames at the start of a large buffer.
            self.incoming.reserve(READ_SIZE.max(self.large_capacity));
        } else {
            reserve_for_frame(&mut self.incoming);
        }
    }

    /// Returns the read buffer to the pool if the buffer is empty and not large.
    fn return_buffer(&mut self) {
        if self.incoming.is_empty() && self.large_capacity == 0 {
            buffer_pool::return_read_buffer(std::mem::take(&mut self.incoming));
        }
    }

    /// Returns `Ready` at the end of the stream. A reader calls this method while it cannot process
    /// the first frame.
    ///
    /// This method reads only a bounded number of bytes after the first frame. If the peer has sent
    /// more bytes, the end of the stream is detected only later.
    pub(super) fn poll_end(
        &mut self,
        cx: &mut Context<'_>,
        connection: &mut Connection,
        mut log: Option<&mut FrameLog>,
        len: usize,
    ) -> Poll<io::Result<()>> {
        let bound = HEADER_LEN + len + BUSY_READ_SIZE;
        while self.incoming.len() < bound {
            let before = self.incoming.len();
            if ready!(self.poll_more(cx, connection))? == 0 {
                return Poll::Ready(Ok(()));
            }
            if let Some(log) = &mut log {
                log.received(connection.peer(), &self.incoming[before..]);
            }
        }
        Poll::Pending
    }

    /// Discards all incoming bytes. Returns `Ready` at the end of the stream.
    pub(super) fn poll_discard(
        &mut self,
        cx: &mut Context<'_>,
        connection: &mut Connection,
    ) -> Poll<io::Result<()>> {
        loop {
            self.incoming.clear();
            if ready!(self.poll_more(cx, connection))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Discards the first frame, which is incomplete. The rest of the frame is discarded as it
    /// arrives.
    pub(super) fn skip_frame(&mut self) {
        self.to_skip = self.frame_size().unwrap_or_default();
        self.to_skip = self.to_skip.saturating_sub(self.incoming.len());
        self.incoming = BytesMut::new();
        self.large_capacity = 0;
        self.granted = self.granted.map(|_| 0);
    }

    /// Returns whether the rest of a skipped frame has not arrived.
    pub(super) fn is_skipping(&self) -> bool {
        self.to_skip > 0
    }

    /// Returns the payload of the first frame. [`poll_frame`](Self::poll_frame) has returned its
    /// length.
    pub(super) fn payload(&self, len: usize) -> &[u8] {
        &self.incoming[HEADER_LEN..HEADER_LEN + len]
    }

    /// Returns the received part of the payload of the first frame, which is incomplete.
    pub(super) fn partial_payload(&self) -> &[u8] {
        self.incoming.get(HEADER_LEN..).unwrap_or_default()
    }

    /// Removes the first frame. [`poll_frame`](Self::poll_frame) has returned the length of its
    /// payload.
    pub(super) fn consume(&mut self, len: usize) {
        let len = HEADER_LEN + len;
        self.incoming.advance(len);
        self.granted = self.granted.map(|_| 0);
        if len >= *RETAINED.start() {
            self.large_capacity = self.large_capacity.max(len);
        }
        if self.incoming.is_empty() {
            if self.large_capacity > *RETAINED.end() || len < self.large_capacity / 4 {
                self.shrink();
            }
            self.return_buffer();
        }
    }

    /// Removes the first frame and returns its payload.
    pub(super) fn take(&mut self, len: usize) -> Bytes {
        self.incoming.advance(HEADER_LEN);
        let payload = self.incoming.split_to(len).freeze();
        if self.incoming.is_empty() {
            // The empty buffer would keep the allocation of the payload.
            self.incoming = BytesMut::new();
            self.large_capacity = 0;
        }
        self.granted = self.granted.map(|_| 0);
        payload
    }

    /// Returns whether the first frame has been received only in part.
    pub(super) fn has_partial_frame(&self) -> bool {
        self.is_skipping()
            || !self.incoming.is_empty()
                && !matches!(peek_frame(&self.incoming, self.max_len), Ok(Some(_)))
    }
}

/// The size of a read, which is enough for several envelopes of typical size.
pub(super) const READ_SIZE: usize = 8 * 1024;

/// The size of a read after the previous read has filled its buffer. A larger read can receive many
/// envelopes at once.
const BUSY_READ_SIZE: usize = 64 * 1024;

/// The sizes of read buffers that a connection keeps, because large frames often follow each other.
/// Smaller buffers are returned to the pool, and larger buffers are freed.
const RETAINED: RangeInclusive<usize> = buffer_pool::MAX_CAPACITY + 1..=2 * 1024 * 1024;
