//! Checks, without waiting, whether an idle connection can still be used.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};
#[cfg(unix)]
use std::{io, os::fd::AsFd};

use tokio::{
    io::{AsyncRead, ReadBuf},
    task::coop,
};

/// What [`Connection::probe`](crate::Connection::probe) found on an idle connection.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProbeResult {
    /// The connection is open and nothing has arrived. It can be used.
    Idle,
    /// The peer closed the connection or its sending half, or the connection broke.
    Closed,
    /// Bytes arrived that belong to no request.
    UnexpectedData,
}

impl ProbeResult {
    /// Returns true if the connection can be used.
    pub fn is_idle_and_open(self) -> bool {
        self == Self::Idle
    }
}

/// Peeks at a socket with one system call, which leaves the bytes in the stream.
#[cfg(unix)]
pub(crate) fn peek(socket: impl AsFd) -> ProbeResult {
    use rustix::{
        io::Errno,
        net::{RecvFlags, recv},
    };

    let mut byte = [0_u8; 1];
    loop {
        return match recv(&socket, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            Ok((_, 0)) => ProbeResult::Closed,
            Ok(_) => ProbeResult::UnexpectedData,
            Err(Errno::AGAIN) => ProbeResult::Idle,
            Err(Errno::INTR) => continue,
            Err(_) => ProbeResult::Closed,
        };
    }
}

/// Peeks at a socket only if the runtime has seen it become readable.
#[cfg(unix)]
pub(crate) fn peek_if_readable(stream: &tokio::net::UnixStream) -> ProbeResult {
    // `WouldBlock` makes the runtime clear the readiness that turned out to be stale.
    let probed = stream.try_io(tokio::io::Interest::READABLE, || match peek(stream) {
        ProbeResult::Idle => Err(io::ErrorKind::WouldBlock.into()),
        found => Ok(found),
    });
    match probed {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => ProbeResult::Idle,
        Err(_) => ProbeResult::Closed,
    }
}

/// Reads from a stream once. A byte that has arrived is lost.
pub(crate) fn poll_once(stream: &mut (impl AsyncRead + Unpin)) -> ProbeResult {
    let mut byte = [0_u8; 1];
    let mut buf = ReadBuf::new(&mut byte);
    // A task that has used up its budget would see a closed stream as pending.
    let read = coop::unconstrained(poll_fn(|cx| Pin::new(&mut *stream).poll_read(cx, &mut buf)));
    let polled = pin!(read).poll(&mut Context::from_waker(Waker::noop()));
    match polled {
        Poll::Pending => ProbeResult::Idle,
        Poll::Ready(Ok(())) if buf.filled().is_empty() => ProbeResult::Closed,
        Poll::Ready(Ok(())) => ProbeResult::UnexpectedData,
        Poll::Ready(Err(_)) => ProbeResult::Closed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_closed_stream_is_seen_by_a_task_that_has_used_up_its_budget() {
        let (mut near, far) = tokio::io::duplex(8);
        drop(far);
        while coop::has_budget_remaining() {
            coop::consume_budget().await;
        }
        assert_eq!(poll_once(&mut near), ProbeResult::Closed);
    }
}
