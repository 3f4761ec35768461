//! The bytes of a connection of HTTP: [`Wire`].

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use agentwire_transport::{Connection, internal::Mutex};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection whose bytes are counted, and which can be checked while a library for HTTP has it.
#[derive(Debug)]
pub(super) struct Wire(Arc<Shared>);

/// What is known about a connection without that library. One task at a time uses it, so the lock
/// is free and the counters are only hints: `Relaxed` is sufficient.
#[derive(Debug)]
pub(super) struct Shared {
    connection: Mutex<Connection>,
    received: AtomicU64,
    written: AtomicU64,
    /// Whether the first bytes of the peer are those of HTTP/1.
    speaks_http1: AtomicBool,
}

impl Wire {
    pub(super) fn new(connection: Connection) -> (Self, Arc<Shared>) {
        let shared = Arc::new(Shared {
            connection: Mutex::new(connection),
            received: AtomicU64::new(0),
            written: AtomicU64::new(0),
            speaks_http1: AtomicBool::new(false),
        });
        (Self(Arc::clone(&shared)), shared)
    }
}

impl Shared {
    /// Returns the number of bytes that were received.
    pub(super) fn received(&self) -> u64 {
        self.received.load(Relaxed)
    }

    /// Returns the number of bytes that were written.
    #[cfg(feature = "http")]
    pub(super) fn written(&self) -> u64 {
        self.written.load(Relaxed)
    }

    /// Returns whether the first bytes of the peer are those of HTTP/1.
    #[cfg(feature = "http")]
    pub(super) fn speaks_http1(&self) -> bool {
        self.speaks_http1.load(Relaxed)
    }

    /// Returns whether the connection is open and no unexpected bytes have arrived.
    #[cfg(feature = "http")]
    pub(super) fn is_idle_and_open(&self) -> bool {
        self.connection.lock().probe().is_idle_and_open()
    }

    /// Returns whether the connection is driven while the current runtime is running.
    #[cfg(feature = "http")]
    pub(super) fn is_driven_here(&self) -> bool {
        self.connection.lock().is_driven_here()
    }

    fn record(&self, written: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(count)) = written {
            self.written.fetch_add(*count as u64, Relaxed);
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let shared = &self.0;
        let before = buffer.filled().len();
        ready!(Pin::new(&mut *shared.connection.lock()).poll_read(cx, buffer))?;
        let read = &buffer.filled()[before..];
        let received = shared.received.fetch_add(read.len() as u64, Relaxed);
        if received == 0 && read.starts_with(b"HTTP/1") {
            shared.speaks_http1.store(true, Relaxed);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut *self.0.connection.lock()).poll_write(cx, bytes);
        self.0.record(&written);
        written
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut *self.0.connection.lock()).poll_write_vectored(cx, slices);
        self.0.record(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.0.connection.lock().is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.connection.lock()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.connection.lock()).poll_shutdown(cx)
    }
}
