use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use agentwire_codec::{
    DecodeError, EncodeError, Envelope, Format, FrameError, FrameLimits, HEADER_LEN, peek_frame,
    put_frame, reserve_for_frame, truncated,
};
use agentwire_transport::Connection;
use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_util::io::poll_read_buf;

use crate::{outgoing::Outgoing, spare};

/// One connection that carries envelopes: the only place that knows how they are told apart.
///
/// A carrier that delivers whole messages (PROTOCOL 1.6) would join here, as a second way to fill
/// `incoming` and to empty `outgoing`; neither the client nor the server would notice.
#[derive(Debug)]
pub(crate) struct Link {
    connection: Connection,
    limits: FrameLimits,
    incoming: BytesMut,
    outgoing: Outgoing,
    written: u64,
    /// The connection may hold bytes back that it was given.
    unflushed: bool,
    /// The last read brought as much as there was room for.
    is_busy: bool,
    /// The largest frame for which `incoming` was made larger than buffers usually are.
    room: usize,
}

/// Enough for several usual envelopes in one read.
const READ_SIZE: usize = 8 * 1024;

/// Where reads come back full, for many envelopes in one.
const BUSY_READ_SIZE: usize = 64 * 1024;

/// A connection keeps the buffer of a frame that is larger than this, but not larger than that: large frames often
/// come in a row.
const KEPT: std::ops::RangeInclusive<usize> = spare::MAX_CAPACITY + 1..=2 * 1024 * 1024;

impl Link {
    pub(crate) fn new(connection: Connection, limits: FrameLimits) -> Self {
        Self {
            connection,
            limits,
            incoming: BytesMut::new(),
            outgoing: Outgoing::default(),
            written: 0,
            unflushed: false,
            is_busy: false,
            room: 0,
        }
    }

    /// True if the far side is still there and has sent nothing that nobody asked for.
    pub(crate) fn is_idle_and_open(&mut self) -> bool {
        self.incoming.is_empty() && self.connection.probe().is_idle_and_open()
    }

    /// The same, of a connection that was in use a moment ago, by what is known without asking the system.
    pub(crate) fn is_quiet_so_far(&mut self) -> bool {
        self.incoming.is_empty() && self.connection.probe_cached().is_idle_and_open()
    }

    /// Puts an envelope in line. On failure nothing is in line that was not there before.
    pub(crate) fn queue(&mut self, format: Format, envelope: &Envelope) -> Result<(), EncodeError> {
        self.unflushed = true;
        put_frame(self.outgoing.append(), self.limits.max_send(), |buffer| {
            format.encode(envelope, buffer)
        })
    }

    /// Where whole frames may be put in line.
    pub(crate) fn line(&mut self) -> &mut Outgoing {
        self.unflushed = true;
        &mut self.outgoing
    }

    /// True if it keeps a large buffer with nothing in it.
    pub(crate) fn has_room_left(&self) -> bool {
        self.room > 0 && self.incoming.is_empty()
    }

    /// Gives that up.
    pub(crate) fn rest(&mut self) {
        if self.has_room_left() {
            self.incoming = BytesMut::new();
            self.room = 0;
        }
    }

    /// True once all that was put in line has left.
    pub(crate) fn is_flushed(&self) -> bool {
        !self.unflushed
    }

    /// Bytes in line.
    pub(crate) fn queued(&self) -> usize {
        self.outgoing.remaining()
    }

    /// Bytes of the line that were written since the beginning.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Writes what is in line. `Ready` once nothing is left.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let before = self.outgoing.remaining();
        let result = write_all(&mut self.connection, cx, &mut self.outgoing);
        self.written += (before - self.outgoing.remaining()) as u64;
        ready!(result)?;
        self.unflushed = false;
        Poll::Ready(Ok(()))
    }

    /// Writes a frame that the caller holds, past the line. `Ready` once nothing is left of it.
    pub(crate) fn poll_write_frame(
        &mut self,
        cx: &mut Context<'_>,
        frame: &mut impl Buf,
    ) -> Poll<io::Result<()>> {
        write_all(&mut self.connection, cx, frame)
    }

    /// The length of the payload at the front, once it is there; `None` at the end of the stream.
    ///
    /// The frame stays until [`consume`](Self::consume) takes it. No more is read than one frame
    /// needs and one read happens to bring.
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<usize>, FrameError>> {
        loop {
            if let Some(len) = peek_frame(&self.incoming, self.limits.max_receive())? {
                return Poll::Ready(Ok(Some(len)));
            }
            self.make_room();
            let room = self.incoming.capacity() - self.incoming.len();
            let connection = Pin::new(&mut self.connection);
            let Poll::Ready(read) = poll_read_buf(connection, cx, &mut self.incoming) else {
                self.give_back();
                return Poll::Pending;
            };
            let read = read?;
            if read == 0 {
                return Poll::Ready(truncated(&self.incoming).map_or(Ok(None), Err));
            }
            self.is_busy = read == room;
        }
    }

    fn make_room(&mut self) {
        if self.incoming.capacity() == 0 {
            self.incoming = spare::to_read();
        }
        let len = self.incoming.len();
        if self.is_busy && len < BUSY_READ_SIZE {
            self.incoming.reserve(BUSY_READ_SIZE - len);
        } else if len == 0 {
            // All of the room for large frames, which the last one has left from the front.
            self.incoming.reserve(READ_SIZE.max(self.room));
        } else {
            reserve_for_frame(&mut self.incoming);
        }
    }

    /// Lets others have a buffer that holds nothing.
    fn give_back(&mut self) {
        if self.incoming.is_empty() && self.room == 0 {
            spare::done_reading(std::mem::take(&mut self.incoming));
        }
    }

    /// `Ready` at the end of the stream, for a reader that has no use for the frame at the front yet.
    ///
    /// A little is read beyond that frame. With more than that on its way, the end shows only later.
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

    /// Drops all that comes in. `Ready` at the end of the stream.
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

    /// The payload whose length [`poll_frame`](Self::poll_frame) gave.
    pub(crate) fn payload(&self, len: usize) -> &[u8] {
        &self.incoming[HEADER_LEN..HEADER_LEN + len]
    }

    /// Drops the frame at the front.
    pub(crate) fn consume(&mut self, len: usize) {
        let len = HEADER_LEN + len;
        self.incoming.advance(len);
        if len >= *KEPT.start() {
            self.room = self.room.max(len);
        }
        if self.incoming.is_empty() {
            if self.room > *KEPT.end() || len < self.room / 4 {
                self.rest();
            }
            self.give_back();
        }
    }

    /// True if part of a frame has come and the rest has not.
    pub(crate) fn has_partial_frame(&self) -> bool {
        !self.incoming.is_empty()
            && !matches!(
                peek_frame(&self.incoming, self.limits.max_receive()),
                Ok(Some(_))
            )
    }

    /// The next envelope, of whichever format it is; `None` at the end of the stream.
    pub(crate) fn poll_envelope(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Result<Envelope, DecodeError>>, FrameError>> {
        let Some(len) = ready!(self.poll_frame(cx))? else {
            return Poll::Ready(Ok(None));
        };
        let payload = self.payload(len);
        let envelope = Format::detect(payload).decode(payload);
        self.consume(len);
        Poll::Ready(Ok(Some(envelope)))
    }

    /// Writes what is in line, closes, and for so long discards what still comes in: a socket that is
    /// closed with bytes unread may lose those that it has written.
    pub(crate) async fn close(mut self, linger: Duration) {
        let farewell = async {
            self.connection.write_all_buf(&mut self.outgoing).await?;
            self.connection.shutdown().await?;
            // On the heap: the future of every connection has room for what it holds across an await.
            let mut discarded = vec![0; READ_SIZE];
            while self.connection.read(&mut discarded).await? > 0 {}
            io::Result::Ok(())
        };
        // Whoever does not listen within this time does not want to know.
        let _ = tokio::time::timeout(linger, farewell).await;
    }
}

fn write_all(
    connection: &mut Connection,
    cx: &mut Context<'_>,
    bytes: &mut impl Buf,
) -> Poll<io::Result<()>> {
    while bytes.has_remaining() {
        // Lines and frames are of one piece, and the system takes one piece faster than a list of one.
        match ready!(Pin::new(&mut *connection).poll_write(cx, bytes.chunk()))? {
            0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            written => bytes.advance(written),
        }
    }
    // A connection of the user's own may hold bytes back until it is flushed.
    Pin::new(connection).poll_flush(cx)
}
