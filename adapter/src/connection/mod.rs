//! A connection that carries envelopes in frames, which is used by the client and by the server.

mod bodies;
pub(crate) mod buffer_pool;
mod encode_cost;
mod offload;
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
use agentwire_transport::{Connection, PeerState};
use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};
use tokio_util::io::poll_read_buf;

pub(crate) use self::{
    bodies::Bodies, encode_cost::is_costly, offload::Offload, write_buffer::WriteBuffer,
};

/// A byte stream that carries one envelope in each frame.
///
/// No other type implements how envelopes are delimited on a byte stream. A carrier that delivers
/// whole messages (PROTOCOL 1.6) does not need this type.
#[derive(Debug)]
pub(crate) struct FramedConnection {
    connection: Connection,
    limits: FrameLimits,
    bodies: Bodies,
    incoming: BytesMut,
    outgoing: WriteBuffer,
    /// The number of bytes of `outgoing` that have been written since the connection was opened.
    written: u64,
    /// Whether bytes have been queued since the last complete flush.
    unflushed: bool,
    /// Whether the last read filled all of the space in the buffer.
    is_busy: bool,
    /// The size of the largest frame for which `incoming` has grown beyond the largest size that
    /// the buffer pool keeps, or 0 if there was no such frame.
    large_capacity: usize,
    /// A large payload that is being decoded on another thread.
    decoding: Option<Offload<Decoded>>,
}

/// The result of decoding a payload.
#[derive(Debug)]
pub(crate) struct Decoded {
    pub(crate) format: Format,
    /// The length of the payload in bytes.
    pub(crate) len: usize,
    pub(crate) envelope: Result<Envelope, DecodeError>,
}

/// The result of encoding an envelope.
#[derive(Debug)]
pub(crate) struct Encoded {
    pub(crate) envelope: Envelope,
    pub(crate) frame: Result<Vec<u8>, EncodeError>,
}

/// A value that a connection has received.
#[derive(Debug)]
pub(crate) enum Received {
    Envelope(Envelope),
    /// A frame whose payload is not an envelope. The connection stays usable.
    Malformed(DecodeError),
    /// The end of the stream, which is not in the middle of a frame.
    End,
}

impl From<Result<Envelope, DecodeError>> for Received {
    fn from(envelope: Result<Envelope, DecodeError>) -> Self {
        match envelope {
            Ok(envelope) => Self::Envelope(envelope),
            Err(error) => Self::Malformed(error),
        }
    }
}

impl FramedConnection {
    pub(crate) fn new(connection: Connection, limits: FrameLimits) -> Self {
        Self {
            connection,
            limits,
            bodies: Bodies::Typed,
            incoming: BytesMut::new(),
            outgoing: WriteBuffer::default(),
            written: 0,
            unflushed: false,
            is_busy: false,
            large_capacity: 0,
            decoding: None,
        }
    }

    /// Sets how [`poll_receive`](Self::poll_receive) decodes bodies.
    pub(crate) fn decoding(mut self, bodies: Bodies) -> Self {
        self.bodies = bodies;
        self
    }

    /// Returns whether the connection makes progress while the current runtime runs.
    pub(crate) fn is_driven_here(&self) -> bool {
        self.connection.is_driven_here()
    }

    /// Returns whether the connection is open and no unexpected bytes have arrived.
    pub(crate) fn is_idle_and_open(&mut self) -> bool {
        self.incoming.is_empty() && self.connection.probe().is_idle_and_open()
    }

    /// Returns the same as [`is_idle_and_open`](Self::is_idle_and_open), but without a system call.
    /// Use this method for a connection that was in use a moment ago.
    pub(crate) fn is_idle_and_open_cached(&mut self) -> bool {
        self.incoming.is_empty() && self.connection.probe_cached().is_idle_and_open()
    }

    /// Queues an envelope. If encoding fails, the queue remains unchanged.
    pub(crate) fn queue(&mut self, format: Format, envelope: &Envelope) -> Result<(), EncodeError> {
        let buffer = self.outgoing.buffer_mut();
        self.unflushed = true;
        put_frame(buffer, self.limits.max_send(), |buffer| {
            format.encode(envelope, buffer)
        })
    }

    /// Starts to encode an envelope on another thread. [`queue_encoded`](Self::queue_encoded)
    /// queues the result.
    pub(crate) fn start_encoding(&self, format: Format, envelope: Envelope) -> Offload<Encoded> {
        let max_send = self.limits.max_send();
        Offload::new(move || {
            let mut frame = Vec::new();
            let encode = |buffer: &mut Vec<u8>| format.encode(&envelope, buffer);
            let result = put_frame(&mut frame, max_send, encode);
            Encoded {
                envelope,
                frame: result.map(|()| frame),
            }
        })
    }

    /// Queues a frame that was encoded on another thread.
    pub(crate) fn queue_encoded(&mut self, mut frame: Vec<u8>) {
        self.unflushed = true;
        self.outgoing.append_all(&mut frame);
    }

    /// Returns the queue, so that the caller can append whole frames.
    pub(crate) fn write_buffer_mut(&mut self) -> &mut WriteBuffer {
        self.unflushed = true;
        &mut self.outgoing
    }

    /// Returns whether the connection holds a large read buffer that is empty.
    pub(crate) fn has_excess_capacity(&self) -> bool {
        self.large_capacity > 0 && self.incoming.is_empty()
    }

    /// Frees the large read buffer if it is empty.
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

    /// Returns the number of queued bytes.
    pub(crate) fn queued(&self) -> usize {
        self.outgoing.remaining()
    }

    /// Returns the number of queued bytes that have been written since the connection was opened.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Writes the queued bytes. Returns `Ready` once all bytes are written and flushed.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let before = self.outgoing.remaining();
        let result = write_all(&mut self.connection, cx, &mut self.outgoing);
        self.written += (before - self.outgoing.remaining()) as u64;
        ready!(result)?;
        self.unflushed = false;
        Poll::Ready(Ok(()))
    }

    /// Writes a frame directly, without adding it to the queue. Returns `Ready` once the whole
    /// frame is written and flushed.
    pub(crate) fn poll_write_frame(
        &mut self,
        cx: &mut Context<'_>,
        frame: &mut impl Buf,
    ) -> Poll<io::Result<()>> {
        write_all(&mut self.connection, cx, frame)
    }

    /// Waits for a whole frame, and returns the length of its payload. Returns `None` at the end of
    /// the stream.
    ///
    /// The frame stays at the front of the buffer until [`consume`](Self::consume) removes it. Once
    /// a whole frame is buffered, nothing more is read.
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
            // Reclaims the space of consumed frames at the start of a large buffer.
            self.incoming.reserve(READ_SIZE.max(self.large_capacity));
        } else {
            reserve_for_frame(&mut self.incoming);
        }
    }

    /// Returns the read buffer to the pool if it is empty and not a large one.
    fn return_buffer(&mut self) {
        if self.incoming.is_empty() && self.large_capacity == 0 {
            buffer_pool::return_read_buffer(std::mem::take(&mut self.incoming));
        }
    }

    /// Returns `Ready` at the end of the stream. A reader calls this while it cannot process the
    /// first frame.
    ///
    /// Only a bounded number of bytes after that frame is read. If the peer has sent more bytes,
    /// the end of the stream is noticed only later.
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

    /// Discards all incoming bytes. Returns `Ready` at the end of the stream.
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

    /// Removes the first frame, whose payload has the given length.
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

    /// Starts to decode the first frame on another thread, and removes the frame.
    pub(crate) fn start_decoding(&mut self, len: usize, bodies: Bodies) {
        self.incoming.advance(HEADER_LEN);
        let payload = self.incoming.split_to(len).freeze();
        self.decoding = Some(Offload::new(move || Decoded {
            format: Format::detect(&payload),
            len: payload.len(),
            envelope: bodies.decode(&payload),
        }));
    }

    /// Returns whether a payload is being decoded on another thread. Later frames wait for it.
    pub(crate) fn is_decoding(&self) -> bool {
        self.decoding.is_some()
    }

    /// Waits for the payload that is being decoded on another thread.
    pub(crate) fn poll_decoded(&mut self, cx: &mut Context<'_>) -> Poll<Decoded> {
        let Some(decoding) = &mut self.decoding else {
            return Poll::Pending;
        };
        let decoded = ready!(Pin::new(decoding).poll(cx));
        self.decoding = None;
        Poll::Ready(decoded)
    }

    /// Returns whether the first frame has been received only in part.
    pub(crate) fn has_partial_frame(&self) -> bool {
        !self.incoming.is_empty()
            && !matches!(
                peek_frame(&self.incoming, self.limits.max_receive()),
                Ok(Some(_))
            )
    }

    /// Waits for the next envelope in either format. After an error the connection is unusable.
    pub(crate) fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Received, FrameError>> {
        if !self.is_decoding() {
            let Some(len) = ready!(self.poll_frame(cx))? else {
                return Poll::Ready(Ok(Received::End));
            };
            if let Some(envelope) = self.bodies.decode_inline(self.payload(len)) {
                self.consume(len);
                return Poll::Ready(Ok(envelope.into()));
            }
            self.start_decoding(len, self.bodies);
        }
        let decoded = ready!(self.poll_decoded(cx));
        Poll::Ready(Ok(decoded.envelope.into()))
    }

    /// Returns whether the peer has ended its side of the connection, as far as that is known
    /// without reading.
    pub(crate) fn peer_state(&mut self, cx: &mut Context<'_>) -> PeerState {
        self.connection.peer_state(cx)
    }

    /// Closes the sending half after all queued bytes, and discards what the peer still sends.
    ///
    /// A socket that is closed with unread bytes may lose bytes that it has written. So may a
    /// socket to which the peer sends more after the close.
    pub(crate) async fn close(mut self, linger: Linger) {
        let farewell = async {
            self.connection.write_all_buf(&mut self.outgoing).await?;
            self.connection.shutdown().await?;
            // The buffer is on the heap, because an array would enlarge the future of every
            // connection.
            let mut discarded = vec![0; READ_SIZE];
            let mut read =
                async || timeout(linger.quiet, self.connection.read(&mut discarded)).await;
            while matches!(read().await, Ok(Ok(1..))) {}
            io::Result::Ok(())
        };
        // A peer that does not read within this time loses what it has not read.
        let _ = timeout(linger.total, farewell).await;
    }
}

/// How long a connection that closes waits for its peer to close, too.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Linger {
    /// The limit of the whole wait.
    pub(crate) total: Duration,
    /// The limit of each wait for more bytes or the end.
    pub(crate) quiet: Duration,
}

fn write_all(
    connection: &mut Connection,
    cx: &mut Context<'_>,
    bytes: &mut impl Buf,
) -> Poll<io::Result<()>> {
    while bytes.has_remaining() {
        // Queues and frames are contiguous, and `write` is faster than `writev` with a single
        // slice.
        match ready!(Pin::new(&mut *connection).poll_write(cx, bytes.chunk()))? {
            0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            written => bytes.advance(written),
        }
    }
    // A custom connection may buffer bytes until it is flushed.
    Pin::new(connection).poll_flush(cx)
}

/// The size of a read, which is enough for several envelopes of usual size.
const READ_SIZE: usize = 8 * 1024;

/// The size of a read after a read that filled its buffer, so that one read receives many
/// envelopes.
const BUSY_READ_SIZE: usize = 64 * 1024;

/// A connection keeps a read buffer whose size is in this range, because large frames often follow
/// each other. A smaller buffer is returned to the pool, and a larger buffer is freed.
const RETAINED: RangeInclusive<usize> = buffer_pool::MAX_CAPACITY + 1..=2 * 1024 * 1024;
