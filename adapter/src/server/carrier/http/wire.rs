//! The bytes of a connection below hyper: [`Wire`].

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use agentwire_transport::Connection;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use super::activity::Activity;
use crate::deadline_timer::DeadlineTimer;

/// A connection that counts its bytes, and lets the peer read the last answer before it closes.
pub(super) struct Wire {
    connection: Connection,
    activity: Arc<Activity>,
    linger: Option<Linger>,
}

/// The wait for the end of the peer's input after the last answer.
struct Linger {
    end: Instant,
    timer: DeadlineTimer,
    has_shut_down: bool,
}

impl Wire {
    pub(super) fn new(connection: Connection, activity: &Arc<Activity>) -> Self {
        Self {
            connection,
            activity: Arc::clone(activity),
            linger: None,
        }
    }

    /// Returns the connection, which no longer belongs to hyper.
    #[cfg(feature = "websocket")]
    pub(super) fn into_connection(self) -> Connection {
        self.connection
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.connection).poll_read(cx, buffer))?;
        self.activity.add_received(buffer.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.connection).poll_write(cx, bytes);
        self.record(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.connection).poll_write_vectored(cx, slices);
        self.record(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(cx)
    }

    /// Closes the sending half. If a body was refused before it had arrived, its rest is discarded
    /// for some time, because a socket that is closed with unread bytes loses written answers.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.activity.has_unread_body() {
            return Pin::new(&mut self.connection).poll_shutdown(cx);
        }
        let Self {
            connection, linger, ..
        } = &mut *self;
        let linger = linger.get_or_insert_with(|| Linger {
            end: Instant::now() + LINGER,
            timer: DeadlineTimer::default(),
            has_shut_down: false,
        });
        if !linger.has_shut_down {
            ready!(Pin::new(&mut *connection).poll_shutdown(cx))?;
            linger.has_shut_down = true;
        }
        let mut discarded = [0; 4096];
        loop {
            let mut buffer = ReadBuf::new(&mut discarded);
            if linger.timer.poll(cx, linger.end).is_ready() {
                return Poll::Ready(Ok(()));
            }
            ready!(Pin::new(&mut *connection).poll_read(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl Wire {
    fn record(&self, written: &Poll<io::Result<usize>>) {
        self.activity.set_write_blocked(written.is_pending());
        if let Poll::Ready(Ok(count)) = written {
            self.activity.add_written(*count);
        }
    }
}

/// How long the rest of a refused body is discarded.
const LINGER: Duration = Duration::from_secs(5);
