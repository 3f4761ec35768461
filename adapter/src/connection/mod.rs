//! The framed connection, which is used by clients and servers.

mod bodies;
pub(crate) mod buffer_pool;
mod encode_cost;
pub(crate) mod frame_log;
mod offload;
mod write_buffer;

use std::{
    io,
    ops::RangeInclusive,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use agentwire_codec::{
    Body, DEFAULT_MEMORY_LIMIT, DecodeError, EncodeError, Envelope, ForeignProtocol, Format,
    FrameError, FrameLimits, HEADER_LEN, RequestId, check_eof, peek_frame, reserve_for_frame,
};
use agentwire_transport::{Connection, Error as TransportError, Peer, PeerState};
use bytes::{Buf, BufMut, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};
use tokio_util::io::poll_read_buf;

#[cfg(feature = "cache")]
pub(crate) use self::encode_cost::message_memory;
pub(crate) use self::{
    bodies::{Bodies, MAX_EXCESS_MEMORY, MAX_INLINE, MAX_SMALL},
    encode_cost::{approximate_memory, is_costly},
    frame_log::FrameLog,
    offload::Offload,
    write_buffer::WriteBuffer,
};

/// A byte stream that carries one envelope in each frame.
///
/// Only this type delimits envelopes on a byte stream. A carrier that delivers whole messages
/// (PROTOCOL 1.6) does not need this type.
#[derive(Debug)]
pub(crate) struct FramedConnection {
    connection: Connection,
    limits: FrameLimits,
    bodies: Bodies,
    incoming: BytesMut,
    outgoing: WriteBuffer,
    /// The total number of bytes that have been written from `outgoing`.
    written: u64,
    /// The total number of bytes that `poll_frame` has read.
    received: u64,
    /// Whether bytes have been queued since the last complete flush.
    unflushed: bool,
    /// Whether the last read filled the buffer.
    is_busy: bool,
    /// The size of the largest received frame that exceeds the maximum size of a pooled buffer, or
    /// 0 if there was no such frame.
    large_capacity: usize,
    /// The size of the frame that may be received, or `None` if every frame may be received.
    granted: Option<usize>,
    /// The number of bytes of a skipped frame that have not arrived.
    to_skip: usize,
    /// A large payload that is being decoded on another thread.
    decoding: Option<Offload<Decoded>>,
    /// The log of frames, or `None` if frames are not logged.
    log: Option<Box<FrameLog>>,
}

/// The result of decoding a payload.
#[derive(Debug)]
pub(crate) struct Decoded {
    pub(crate) format: Format,
    /// The length of the payload in bytes.
    pub(crate) len: usize,
    /// The memory of the decoded values, or 0 if the payload was not decoded.
    pub(crate) memory: usize,
    pub(crate) envelope: Result<Envelope, DecodeError>,
}

impl Decoded {
    pub(crate) fn new(payload: &[u8], decoded: Result<(Envelope, usize), DecodeError>) -> Self {
        let (envelope, memory) = match decoded {
            Ok((envelope, memory)) => (Ok(envelope), memory),
            Err(error) => (Err(error), 0),
        };
        Self {
            format: Format::detect(payload),
            len: payload.len(),
            memory,
            envelope,
        }
    }
}

/// The result of encoding an envelope.
#[derive(Debug)]
pub(crate) struct Encoded {
    pub(crate) id: RequestId,
    /// The frame, or the error and the body that cannot be encoded. Only the body of an error is
    /// kept.
    pub(crate) frame: Result<Vec<u8>, (EncodeError, Option<Body>)>,
}

/// A value that a connection has received.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "nearly all values are envelopes")]
pub(crate) enum Received {
    Envelope(Envelope),
    /// A frame whose payload is not an envelope. The connection stays usable.
    Malformed(DecodeError),
    /// The end of the stream after a complete frame.
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
            received: 0,
            unflushed: false,
            is_busy: false,
            large_capacity: 0,
            granted: None,
            to_skip: 0,
            decoding: None,
            log: FrameLog::start(),
        }
    }

    /// Sets how [`poll_receive`](Self::poll_receive) decodes bodies.
    pub(crate) fn decoding(mut self, bodies: Bodies) -> Self {
        self.bodies = bodies;
        self
    }

    /// Requires a [grant](Self::grant) for each large frame.
    pub(crate) fn with_grants(mut self) -> Self {
        self.granted = Some(0);
        self
    }

    /// Returns the size of the first frame if the rest of the frame is only read after a
    /// [grant](Self::grant).
    pub(crate) fn ungranted(&self) -> Option<usize> {
        let granted = self.granted?;
        let size = self.frame_size()?;
        let is_waiting = self.incoming.len() >= BUSY_READ_SIZE && self.incoming.len() < size;
        (is_waiting && size > granted).then_some(size)
    }

    /// Allows a frame of this size to be received.
    pub(crate) fn grant(&mut self, size: usize) {
        self.granted = Some(size);
    }

    /// Returns the size of the first frame, with its header.
    fn frame_size(&self) -> Option<usize> {
        let header = self.incoming.first_chunk::<HEADER_LEN>()?;
        Some(HEADER_LEN + u32::from_be_bytes(*header) as usize)
    }

    /// Returns whether the connection is driven while the current runtime is running.
    pub(crate) fn is_driven_here(&self) -> bool {
        self.connection.is_driven_here()
    }

    /// Returns whether the connection is open and no unexpected bytes have arrived.
    pub(crate) fn is_idle_and_open(&mut self) -> bool {
        self.incoming.is_empty()
            && !self.is_skipping()
            && self.connection.probe().is_idle_and_open()
    }

    /// Like [`is_idle_and_open`](Self::is_idle_and_open), but without a system call. Use this
    /// method for a connection that was in use a moment ago.
    pub(crate) fn is_idle_and_open_cached(&mut self) -> bool {
        self.incoming.is_empty() && self.connection.probe_cached().is_idle_and_open()
    }

    /// Returns whether the handshake of the carrier is not complete.
    pub(crate) fn needs_handshake(&self) -> bool {
        self.connection.needs_handshake()
    }

    /// Completes the handshake of the carrier, and returns the peer that the handshake has
    /// identified.
    pub(crate) fn poll_handshake(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Peer, TransportError>> {
        ready!(self.connection.poll_handshake(cx))?;
        Poll::Ready(Ok(self.connection.peer().clone()))
    }

    /// Returns the header `Authorization` of a WebSocket's handshake.
    pub(crate) fn take_authorization(&mut self) -> Option<Box<str>> {
        self.connection.take_authorization()
    }

    /// Reads what has arrived before the first frame, and returns whether it begins like the
    /// request line of HTTP.
    pub(crate) fn starts_like_http(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        self.incoming.reserve(READ_SIZE);
        let _ = poll_read_buf(Pin::new(&mut self.connection), &mut cx, &mut self.incoming);
        let start = self.incoming.first_chunk().copied();
        start.and_then(ForeignProtocol::detect) == Some(ForeignProtocol::Http)
    }

    /// Queues an envelope. If encoding fails, the queue is unchanged.
    pub(crate) fn queue(&mut self, format: Format, envelope: &Envelope) -> Result<(), EncodeError> {
        let buffer = self.outgoing.buffer_mut();
        self.unflushed = true;
        format.put_frame(envelope, self.limits.max_send(), buffer)
    }

    /// Starts encoding an envelope on another thread. Pass the result to
    /// [`queue_encoded`](Self::queue_encoded).
    pub(crate) fn start_encoding(&self, format: Format, envelope: Envelope) -> Offload<Encoded> {
        let max_send = self.limits.max_send();
        Offload::new(move || {
            let mut frame = Vec::new();
            let result = format.put_frame(&envelope, max_send, &mut frame);
            let Envelope { id, body, .. } = envelope;
            // All other bodies are dropped here, because dropping many values takes long.
            let body = matches!(body, Body::Error(_)).then_some(body);
            let frame = result.map(|()| frame).map_err(|error| (error, body));
            Encoded { id, frame }
        })
    }

    /// Queues a frame that was encoded on another thread.
    pub(crate) fn queue_encoded(&mut self, mut frame: Vec<u8>) {
        self.unflushed = true;
        self.outgoing.append_all(&mut frame);
    }

    /// Returns the write buffer. The caller may only append whole frames.
    pub(crate) fn write_buffer_mut(&mut self) -> &mut WriteBuffer {
        self.unflushed = true;
        &mut self.outgoing
    }

    /// Removes the last `count` bytes from the queue.
    pub(crate) fn unqueue(&mut self, count: usize) {
        let buffer = self.outgoing.buffer_mut();
        buffer.truncate(buffer.len().saturating_sub(count));
        buffer.shrink_to(buffer_pool::MAX_CAPACITY);
    }

    /// Returns the memory of the queue in excess of a pooled buffer.
    pub(crate) fn excess_queue(&self) -> usize {
        self.outgoing
            .capacity()
            .saturating_sub(buffer_pool::MAX_CAPACITY)
    }

    /// Returns whether the connection keeps a read buffer for large frames.
    pub(crate) fn has_large_buffer(&self) -> bool {
        self.large_capacity > 0
    }

    /// Returns whether the connection has a large read buffer that is empty.
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

    /// Returns the total number of queued bytes that have been written.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Returns the total number of bytes of frames that have been received.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// Writes the queued bytes. Returns `Ready` once all bytes are written and flushed.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let before = self.outgoing.remaining();
        let log = self.log.as_deref_mut();
        let result = write_all(&mut self.connection, cx, &mut self.outgoing, log);
        self.written += (before - self.outgoing.remaining()) as u64;
        ready!(result)?;
        self.unflushed = false;
        Poll::Ready(Ok(()))
    }

    /// Writes a frame without copying it into the queue. Returns `Ready` once the whole frame is
    /// written and flushed.
    pub(crate) fn poll_write_frame(
        &mut self,
        cx: &mut Context<'_>,
        frame: &mut impl Buf,
    ) -> Poll<io::Result<()>> {
        write_all(&mut self.connection, cx, frame, self.log.as_deref_mut())
    }

    /// Waits for a whole frame and returns the length of its payload. Returns `None` at the end of
    /// the stream.
    ///
    /// The frame stays in the buffer until [`consume`](Self::consume) is called. If a whole frame
    /// is already buffered, nothing is read. If the frame needs a grant, this method returns
    /// `Pending` without registering a waker (see [`ungranted`](Self::ungranted)).
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<usize>, FrameError>> {
        loop {
            if self.to_skip > 0 {
                let arrived = self.to_skip.min(self.incoming.len());
                self.incoming.advance(arrived);
                self.to_skip -= arrived;
            }
            if self.to_skip > 0 {
                // The buffer is empty.
            } else if let Some(len) = peek_frame(&self.incoming, self.limits.max_receive())? {
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
            let connection = Pin::new(&mut self.connection);
            let mut buffer = (&mut self.incoming).limit(space);
            let Poll::Ready(read) = poll_read_buf(connection, cx, &mut buffer) else {
                self.return_buffer();
                return Poll::Pending;
            };
            let read = read?;
            if read == 0 {
                return Poll::Ready(check_eof(&self.incoming).map(|()| None));
            }
            if let Some(log) = &mut self.log {
                log.received(self.connection.peer(), &self.incoming[before..]);
            }
            self.received += read as u64;
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
    pub(crate) fn poll_end(&mut self, cx: &mut Context<'_>, len: usize) -> Poll<io::Result<()>> {
        let bound = HEADER_LEN + len + BUSY_READ_SIZE;
        while self.incoming.len() < bound {
            self.incoming.reserve(READ_SIZE);
            let before = self.incoming.len();
            let connection = Pin::new(&mut self.connection);
            if ready!(poll_read_buf(connection, cx, &mut self.incoming))? == 0 {
                return Poll::Ready(Ok(()));
            }
            if let Some(log) = &mut self.log {
                log.received(self.connection.peer(), &self.incoming[before..]);
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

    /// Discards the first frame, which is incomplete. The rest of the frame is discarded as it
    /// arrives.
    pub(crate) fn skip_frame(&mut self) {
        self.to_skip = self.frame_size().unwrap_or_default();
        self.to_skip = self.to_skip.saturating_sub(self.incoming.len());
        self.incoming = BytesMut::new();
        self.large_capacity = 0;
        self.granted = self.granted.map(|_| 0);
    }

    /// Returns whether the rest of a skipped frame has not arrived.
    pub(crate) fn is_skipping(&self) -> bool {
        self.to_skip > 0
    }

    /// Returns the payload of the first frame. [`poll_frame`](Self::poll_frame) has returned its
    /// length.
    pub(crate) fn payload(&self, len: usize) -> &[u8] {
        &self.incoming[HEADER_LEN..HEADER_LEN + len]
    }

    /// Returns the received part of the payload of the first frame, which is incomplete.
    pub(crate) fn partial_payload(&self) -> &[u8] {
        self.incoming.get(HEADER_LEN..).unwrap_or_default()
    }

    /// Removes the first frame. [`poll_frame`](Self::poll_frame) has returned the length of its
    /// payload.
    pub(crate) fn consume(&mut self, len: usize) {
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

    /// Removes the first frame and starts decoding it on another thread.
    pub(crate) fn start_decoding(&mut self, len: usize, bodies: Bodies, max_memory: usize) {
        self.incoming.advance(HEADER_LEN);
        let payload = self.incoming.split_to(len).freeze();
        if self.incoming.is_empty() {
            // The empty buffer would keep the allocation of the payload.
            self.incoming = BytesMut::new();
            self.large_capacity = 0;
        }
        self.granted = self.granted.map(|_| 0);
        self.decoding = Some(Offload::new(move || {
            let decoded = bodies.decode_within(&payload, max_memory);
            Decoded::new(&payload, decoded)
        }));
    }

    /// Returns whether a payload is being decoded on another thread. Later frames wait in the
    /// meantime.
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
        self.is_skipping()
            || !self.incoming.is_empty()
                && !matches!(
                    peek_frame(&self.incoming, self.limits.max_receive()),
                    Ok(Some(_))
                )
    }

    /// Waits for the next envelope in either format. The connection is unusable after an error.
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
            self.start_decoding(len, self.bodies, DEFAULT_MEMORY_LIMIT);
        }
        let decoded = ready!(self.poll_decoded(cx));
        Poll::Ready(Ok(decoded.envelope.into()))
    }

    /// Returns whether the peer has ended its side of the connection, as far as this is known
    /// without reading.
    pub(crate) fn peer_state(&mut self, cx: &mut Context<'_>) -> PeerState {
        self.connection.peer_state(cx)
    }

    /// Writes all queued bytes, closes the sending half, and discards all further bytes from the
    /// peer.
    ///
    /// If a socket is closed while it has unread bytes, the peer may lose bytes that were already
    /// written. The peer may also lose bytes if it sends more bytes after the close.
    pub(crate) async fn close(mut self, linger: Linger) {
        if let Some(log) = &mut self.log {
            log.sent(self.connection.peer(), self.outgoing.chunk());
        }
        let farewell = async {
            self.connection.write_all_buf(&mut self.outgoing).await?;
            self.connection.shutdown().await?;
            // The buffer is on the heap because an array would enlarge the future of every
            // connection.
            let mut discarded = vec![0; READ_SIZE];
            let mut read =
                async || timeout(linger.quiet, self.connection.read(&mut discarded)).await;
            while matches!(read().await, Ok(Ok(1..))) {}
            io::Result::Ok(())
        };
        // If the peer does not read all bytes within this time, the remaining bytes are lost.
        let _ = timeout(linger.total, farewell).await;
    }
}

/// The limits on how long a closing connection waits for its peer to close.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Linger {
    /// The maximum duration of the whole wait.
    pub(crate) total: Duration,
    /// The maximum duration of each wait for more bytes or the end of the stream.
    pub(crate) quiet: Duration,
}

fn write_all(
    connection: &mut Connection,
    cx: &mut Context<'_>,
    bytes: &mut impl Buf,
    mut log: Option<&mut FrameLog>,
) -> Poll<io::Result<()>> {
    while bytes.has_remaining() {
        // Queues and frames are contiguous, so `write` is used, which is faster than `writev` with
        // a single slice.
        match ready!(Pin::new(&mut *connection).poll_write(cx, bytes.chunk()))? {
            0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            written => {
                if let Some(log) = &mut log {
                    log.sent(connection.peer(), &bytes.chunk()[..written]);
                }
                bytes.advance(written);
            }
        }
    }
    // A custom connection may buffer bytes until it is flushed.
    Pin::new(connection).poll_flush(cx)
}

/// The size of a read, which is enough for several envelopes of typical size.
const READ_SIZE: usize = 8 * 1024;

/// The size of a read after the previous read has filled its buffer. A larger read can receive many
/// envelopes at once.
const BUSY_READ_SIZE: usize = 64 * 1024;

/// The sizes of read buffers that a connection keeps, because large frames often follow each other.
/// Smaller buffers are returned to the pool, and larger buffers are freed.
const RETAINED: RangeInclusive<usize> = buffer_pool::MAX_CAPACITY + 1..=2 * 1024 * 1024;
