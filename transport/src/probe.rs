//! Probes, which check without waiting whether an idle connection is still usable.

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

/// The result of [`Connection::probe`](crate::Connection::probe).
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProbeResult {
    /// The connection is open and no data has arrived. The connection can be used.
    Idle,
    /// The peer closed the connection or its sending half, or the connection failed.
    Closed,
    /// The peer sent data that does not belong to any request.
    UnexpectedData,
}

impl ProbeResult {
    /// Returns true if the result is [`Idle`](Self::Idle), so that the connection can be used.
    pub fn is_idle_and_open(self) -> bool {
        self == Self::Idle
    }
}

/// Probes a socket with one system call, which does not consume any bytes.
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

/// Probes a socket only if the runtime has seen the socket become readable.
#[cfg(unix)]
pub(crate) fn peek_if_readable(stream: &tokio::net::UnixStream) -> ProbeResult {
    // If the socket is not readable after all, return `WouldBlock` so that the runtime clears its
    // cached readiness.
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

/// Probes a stream by polling a read of one byte. If data has arrived, the byte is lost.
pub(crate) fn poll_once(stream: &mut (impl AsyncRead + Unpin)) -> ProbeResult {
    let mut byte = [0_u8; 1];
    let mut buf = ReadBuf::new(&mut byte);
    // If the task has exhausted its coop budget, reads are pending even on a closed stream, so the
    // budget must not apply.
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
