//! One connection that carries envelopes in frames; used by the client and by the server.

pub(crate) mod buffer_pool;
mod write_buffer;

use std::{
    io,
    ops::RangeInclusive,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use agentwire_codec::{
    DecodeError, EncodeError, Envelope, Format, FrameError, FrameLimits, HEADER_LEN, check_eof,
    peek_frame, put_frame, reserve_for_frame,
};
use agentwire_transport::Connection;
use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_util::io::poll_read_buf;

pub(crate) use self::write_buffer::WriteBuffer;

/// A byte stream that carries envelopes, one in each frame.
///
/// The only type that knows how envelopes are delimited on a byte stream. A carrier that delivers
/// whole messages (PROTOCOL 1.6) does not need it.
#[derive(Debug)]
pub(crate) struct FramedConnection {
    connection: Connection,
    limits: FrameLimits,
    incoming: BytesMut,
    outgoing: WriteBuffer,
    /// Bytes of `outgoing` that were written since the connection was opened.
    written: u64,
    /// Whether the connection may still hold bytes that it was given.
    unflushed: bool,
    /// Whether the last read filled all the space that it was offered.
    is_busy: bool,
    /// The largest frame that `incoming` has grown beyond the usual size for; 0 if it has not.
    large_capacity: usize,
}

/// What a connection has received.
#[derive(Debug)]
pub(crate) enum Received {
    Envelope(Envelope),
    /// A frame whose payload is not an envelope. The connection stays usable.
    Malformed(DecodeError),
    /// The end of the stream, between two frames.
    End,
}

impl FramedConnection {
    pub(crate) fn new(connection: Connection, limits: FrameLimits) -> Self {
        Self {
            connection,
            limits,
            incoming: BytesMut::new(),
            outgoing: WriteBuffer::default(),
            written: 0,
            unflushed: false,
            is_busy: false,
            large_capacity: 0,
        }
    }

    /// Returns whether the peer has neither closed the connection nor sent unsolicited bytes.
    pub(crate) fn is_idle_and_open(&mut self) -> bool {
        self.incoming.is_empty() && self.connection.probe().is_idle_and_open()
    }

    /// Like [`is_idle_and_open`](Self::is_idle_and_open), without a system call: for a connection
    /// that was in use a moment ago.
    pub(crate) fn is_idle_and_open_cached(&mut self) -> bool {
        self.incoming.is_empty() && self.connection.probe_cached().is_idle_and_open()
    }

    /// Queues an envelope. On failure the queue is as it was before.
    pub(crate) fn queue(&mut self, format: Format, envelope: &Envelope) -> Result<(), EncodeError> {
        let buffer = self.outgoing.buffer_mut();
        self.unflushed = true;
        put_frame(buffer, self.limits.max_send(), |buffer| {
            format.encode(envelope, buffer)
        })
    }

    /// Returns the queue, for whole frames to be appended to it.
    pub(crate) fn write_buffer_mut(&mut self) -> &mut WriteBuffer {
        self.unflushed = true;
        &mut self.outgoing
    }

    /// Returns whether it holds a large read buffer with nothing in it.
    pub(crate) fn has_excess_capacity(&self) -> bool {
        self.large_capacity > 0 && self.incoming.is_empty()
    }

    /// Frees the large read buffer, if it holds one with nothing in it.
    pub(crate) fn shrink(&mut self) {
        if self.has_excess_capacity() {
            self.incoming = BytesMut::new();
            self.large_capacity = 0;
        }
    }

    /// Returns whether all queued bytes have been written and flushed.
    pub(crate) fn is_flushed(&self) -> bool {
        !self.unflushed
    }

    /// Returns how many bytes are queued.
    pub(crate) fn queued(&self) -> usize {
        self.outgoing.remaining()
    }

    /// Returns how many queued bytes have been written since the connection was opened.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Writes the queued bytes. `Ready` once all are written and flushed.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let before = self.outgoing.remaining();
        let result = write_all(&mut self.connection, cx, &mut self.outgoing);
        self.written += (before - self.outgoing.remaining()) as u64;
        ready!(result)?;
        self.unflushed = false;
        Poll::Ready(Ok(()))
    }

    /// Writes a frame that the caller holds, past the queue. `Ready` once all of it is written.
    pub(crate) fn poll_write_frame(
        &mut self,
        cx: &mut Context<'_>,
        frame: &mut impl Buf,
    ) -> Poll<io::Result<()>> {
        write_all(&mut self.connection, cx, frame)
    }

    /// Waits for a whole frame and returns the length of its payload; `None` at the end of the
    /// stream.
    ///
    /// The frame stays in front until [`consume`](Self::consume) removes it. No more is read than
    /// one frame needs and one read happens to bring.
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<usize>, FrameError>> {
        loop {
            if let Some(len) = peek_frame(&self.incoming, self.limits.max_receive())? {
                return Poll::Ready(Ok(Some(len)));
            }
            self.reserve_read();
            let space = self.incoming.capacity() - self.incoming.len();
            let connection = Pin::new(&mut self.connection);
            let Poll::Ready(read) = poll_read_buf(connection, cx, &mut self.incoming) else {
                self.return_buffer();
                return Poll::Pending;
            };
            let read = read?;
            if read == 0 {
                return Poll::Ready(check_eof(&self.incoming).map(|()| None));
            }
            self.is_busy = read == space;
        }
    }

    fn reserve_read(&mut self) {
        if self.incoming.capacity() == 0 {
            self.incoming = buffer_pool::take_read_buffer();
        }
        let len = self.incoming.len();
        if self.is_busy && len < BUSY_READ_SIZE {
            self.incoming.reserve(BUSY_READ_SIZE - len);
        } else if len == 0 {
            // Reclaims the whole of a large buffer, whose start the last frame has moved.
            self.incoming.reserve(READ_SIZE.max(self.large_capacity));
        } else {
            reserve_for_frame(&mut self.incoming);
        }
    }

    /// Puts an empty buffer of the usual size back into the pool.
    fn return_buffer(&mut self) {
        if self.incoming.is_empty() && self.large_capacity == 0 {
            buffer_pool::return_read_buffer(std::mem::take(&mut self.incoming));
        }
    }

    /// Returns `Ready` at the end of the stream, for a reader that cannot take the frame in front
    /// yet.
    ///
    /// It reads a bounded amount beyond that frame. If the peer has sent more, the end shows only
    /// later.
    pub(crate) fn poll_end(&mut self, cx: &mut Context<'_>, len: usize) -> Poll<io::Result<()>> {
        let bound = HEADER_LEN + len + BUSY_READ_SIZE;
        while self.incoming.len() < bound {
            self.incoming.reserve(READ_SIZE);
            let connection = Pin::new(&mut self.connection);
            if ready!(poll_read_buf(connection, cx, &mut self.incoming))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
        Poll::Pending
    }

    /// Discards all incoming bytes. `Ready` at the end of the stream.
    pub(crate) fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            self.incoming.clear();
            self.incoming.reserve(READ_SIZE);
            let connection = Pin::new(&mut self.connection);
            if ready!(poll_read_buf(connection, cx, &mut self.incoming))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Returns the payload whose length [`poll_frame`](Self::poll_frame) returned.
    pub(crate) fn payload(&self, len: usize) -> &[u8] {
        &self.incoming[HEADER_LEN..HEADER_LEN + len]
    }

    /// Removes the frame in front.
    pub(crate) fn consume(&mut self, len: usize) {
        let len = HEADER_LEN + len;
        self.incoming.advance(len);
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

    /// Returns whether part of a frame has arrived and the rest has not.
    pub(crate) fn has_partial_frame(&self) -> bool {
        !self.incoming.is_empty()
            && !matches!(
                peek_frame(&self.incoming, self.limits.max_receive()),
                Ok(Some(_))
            )
    }

    /// Waits for the next envelope, in either format. An error ends the connection.
    pub(crate) fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Received, FrameError>> {
        let Some(len) = ready!(self.poll_frame(cx))? else {
            return Poll::Ready(Ok(Received::End));
        };
        let payload = self.payload(len);
        let received = match Format::detect(payload).decode(payload) {
            Ok(envelope) => Received::Envelope(envelope),
            Err(error) => Received::Malformed(error),
        };
        self.consume(len);
        Poll::Ready(Ok(received))
    }

    /// Writes the queued bytes, closes the sending half, and discards what still arrives, all
    /// within `linger`.
    ///
    /// A socket that is closed with unread bytes may lose the bytes that it has written.
    pub(crate) async fn close(mut self, linger: Duration) {
        let farewell = async {
            self.connection.write_all_buf(&mut self.outgoing).await?;
            self.connection.shutdown().await?;
            // On the heap: on the stack it would add to the future of every connection.
            let mut discarded = vec![0; READ_SIZE];
            while self.connection.read(&mut discarded).await? > 0 {}
            io::Result::Ok(())
        };
        // A peer that does not read within this time loses what it has not read.
        let _ = tokio::time::timeout(linger, farewell).await;
    }
}

fn write_all(
    connection: &mut Connection,
    cx: &mut Context<'_>,
    bytes: &mut impl Buf,
) -> Poll<io::Result<()>> {
    while bytes.has_remaining() {
        // Queues and frames are contiguous, and `write` is faster than `writev` with one slice.
        match ready!(Pin::new(&mut *connection).poll_write(cx, bytes.chunk()))? {
            0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            written => bytes.advance(written),
        }
    }
    // A custom connection may hold bytes back until it is flushed.
    Pin::new(connection).poll_flush(cx)
}

/// The size of a read: enough for several usual envelopes.
const READ_SIZE: usize = 8 * 1024;

/// The size of a read while reads come back full, so that one read brings many envelopes.
const BUSY_READ_SIZE: usize = 64 * 1024;

/// A connection keeps a read buffer that grew to a size in this range, because large frames often
/// come in a row. A smaller buffer goes to the pool; a larger one is freed.
const RETAINED: RangeInclusive<usize> = buffer_pool::MAX_CAPACITY + 1..=2 * 1024 * 1024;
