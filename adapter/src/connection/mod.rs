//! The framed connection, which is used by clients and servers.

mod bodies;
pub(crate) mod buffer_pool;
mod decoded;
mod encode_cost;
pub(crate) mod frame_log;
mod frame_reader;
mod offload;
mod write_buffer;

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use agentwire_codec::{
    Body, DEFAULT_MEMORY_LIMIT, EncodeError, Envelope, ForeignProtocol, Format, FrameError,
    FrameLimits,
};
use agentwire_transport::{Connection, Error as TransportError, Peer, PeerState};
use bytes::Buf;
use tokio::{
    io::{AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

#[cfg(feature = "cache")]
pub(crate) use self::encode_cost::message_memory;
use self::frame_reader::{FrameReader, READ_SIZE};
pub(crate) use self::{
    bodies::{Bodies, MAX_EXCESS_MEMORY, MAX_INLINE, MAX_SMALL},
    decoded::{Decoded, Encoded, Received},
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
    incoming: FrameReader,
    outgoing: WriteBuffer,
    /// The total number of bytes that have been written from `outgoing`.
    written: u64,
    /// Whether bytes have been queued since the last complete flush.
    unflushed: bool,
    /// A large payload that is being decoded on another thread.
    decoding: Option<Offload<Decoded>>,
    /// The log of frames, or `None` if frames are not logged.
    log: Option<Box<FrameLog>>,
}

impl FramedConnection {
    pub(crate) fn new(connection: Connection, limits: FrameLimits) -> Self {
        Self {
            connection,
            limits,
            bodies: Bodies::Typed,
            incoming: FrameReader::new(limits.max_receive()),
            outgoing: WriteBuffer::default(),
            written: 0,
            unflushed: false,
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
        self.incoming.require_grants();
        self
    }

    /// Returns the size of the first frame if the rest of the frame is only read after a
    /// [grant](Self::grant).
    pub(crate) fn ungranted(&self) -> Option<usize> {
        self.incoming.ungranted()
    }

    /// Allows a frame of this size to be received.
    pub(crate) fn grant(&mut self, size: usize) {
        self.incoming.grant(size);
    }

    /// Returns whether the connection is driven while the current runtime is running.
    pub(crate) fn is_driven_here(&self) -> bool {
        self.connection.is_driven_here()
    }

    /// Returns whether the connection is open and no unexpected bytes have arrived.
    pub(crate) fn is_idle_and_open(&mut self) -> bool {
        self.incoming.is_empty()
            && !self.incoming.is_skipping()
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
        let start = self.incoming.peek(&mut self.connection);
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
        self.incoming.has_large_buffer()
    }

    /// Returns whether the connection has a large read buffer that is empty.
    pub(crate) fn has_excess_capacity(&self) -> bool {
        self.incoming.has_excess_capacity()
    }

    /// Frees the large read buffer if it is empty.
    pub(crate) fn shrink(&mut self) {
        self.incoming.shrink();
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
        self.incoming.received()
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
        let log = self.log.as_deref_mut();
        self.incoming.poll_frame(cx, &mut self.connection, log)
    }

    /// Returns `Ready` at the end of the stream. A reader calls this method while it cannot process
    /// the first frame.
    ///
    /// This method reads only a bounded number of bytes after the first frame. If the peer has sent
    /// more bytes, the end of the stream is detected only later.
    pub(crate) fn poll_end(&mut self, cx: &mut Context<'_>, len: usize) -> Poll<io::Result<()>> {
        let log = self.log.as_deref_mut();
        self.incoming.poll_end(cx, &mut self.connection, log, len)
    }

    /// Discards all incoming bytes. Returns `Ready` at the end of the stream.
    pub(crate) fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.incoming.poll_discard(cx, &mut self.connection)
    }

    /// Discards the first frame, which is incomplete. The rest of the frame is discarded as it
    /// arrives.
    pub(crate) fn skip_frame(&mut self) {
        self.incoming.skip_frame();
    }

    /// Returns whether the rest of a skipped frame has not arrived.
    pub(crate) fn is_skipping(&self) -> bool {
        self.incoming.is_skipping()
    }

    /// Returns the payload of the first frame. [`poll_frame`](Self::poll_frame) has returned its
    /// length.
    pub(crate) fn payload(&self, len: usize) -> &[u8] {
        self.incoming.payload(len)
    }

    /// Returns the received part of the payload of the first frame, which is incomplete.
    pub(crate) fn partial_payload(&self) -> &[u8] {
        self.incoming.partial_payload()
    }

    /// Removes the first frame. [`poll_frame`](Self::poll_frame) has returned the length of its
    /// payload.
    pub(crate) fn consume(&mut self, len: usize) {
        self.incoming.consume(len);
    }

    /// Removes the first frame and starts decoding it on another thread.
    pub(crate) fn start_decoding(&mut self, len: usize, bodies: Bodies, max_memory: usize) {
        let payload = self.incoming.take(len);
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
        self.incoming.has_partial_frame()
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
