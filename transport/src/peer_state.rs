//! Tells, without reading, whether the peer of a connection has ended its side.

use std::{
    io,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncWrite, DuplexStream},
    task::coop,
};

/// What [`Connection::peer_state`](crate::Connection::peer_state) found.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PeerState {
    /// The peer has ended nothing, or its end is not visible before the bytes ahead of it are read.
    Open,
    /// The peer has closed its sending half and still receives. Only Unix sockets on Linux and
    /// memory connections show this.
    HalfClosed,
    /// The peer has closed its sending half. Whether it still receives is unknown, as always over
    /// TCP: a peer that closes the connection sends nothing more than a peer that closes one half.
    Ended,
    /// The peer has closed the connection, or the connection broke.
    Closed,
}

/// Asks the system about a Unix socket. It reports a hang-up once neither side can send.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn of_unix_socket(socket: impl std::os::fd::AsFd, _: bool) -> PeerState {
    match poll(socket) {
        PeerState::Ended => PeerState::HalfClosed,
        state => state,
    }
}

/// Asks the system about a TCP socket. It reports an error or a hang-up after a reset.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn of_tcp_socket(socket: impl std::os::fd::AsFd, _: bool) -> PeerState {
    poll(socket)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn poll(socket: impl std::os::fd::AsFd) -> PeerState {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    let mut polled = [PollFd::new(&socket, PollFlags::RDHUP)];
    // A failure says nothing about the peer.
    let _ = poll(&mut polled, Some(&Timespec::default()));
    let found = polled[0].revents();
    if found.intersects(PollFlags::HUP | PollFlags::ERR) {
        PeerState::Closed
    } else if found.contains(PollFlags::RDHUP) {
        PeerState::Ended
    } else {
        PeerState::Open
    }
}

/// Returns what reading has found. Other systems do not report hang-ups in the same way.
#[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
pub(crate) fn of_unix_socket<S>(_: S, has_ended: bool) -> PeerState {
    of_tcp_socket((), has_ended)
}

/// Returns what reading has found. Other systems do not report hang-ups in the same way.
#[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
pub(crate) fn of_tcp_socket<S>(_: S, has_ended: bool) -> PeerState {
    if has_ended {
        PeerState::Ended
    } else {
        PeerState::Open
    }
}

/// Tries to write no bytes to a pipe, which fails if the other end was dropped.
pub(crate) fn poll_write_nothing(
    stream: &mut DuplexStream,
    cx: &mut Context<'_>,
    has_ended: bool,
) -> PeerState {
    let write = std::future::poll_fn(|cx| Pin::new(&mut *stream).poll_write(cx, &[]));
    // A task that has used up its budget would see every pipe as pending. A full pipe is pending,
    // too, and then stores the waker of `cx` in place of that of an earlier write.
    let written: Poll<io::Result<usize>> = pin!(coop::unconstrained(write)).poll(cx);
    match written {
        Poll::Ready(Err(_)) => PeerState::Closed,
        _ if has_ended => PeerState::HalfClosed,
        _ => PeerState::Open,
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::{Connection, Endpoint, Listener, connect};

    async fn state(connection: &mut Connection) -> PeerState {
        poll_fn(|cx| Poll::Ready(connection.peer_state(cx))).await
    }

    /// Returns a client and the server's side of its connection.
    async fn pair(endpoint: &str) -> (Connection, Connection) {
        let endpoint: Endpoint = endpoint.parse().expect("endpoint");
        let mut listener = Listener::bind(&endpoint).await.expect("bind");
        let client = connect(listener.endpoint()).await.expect("connect");
        (client, listener.accept().await.expect("accept"))
    }

    async fn read_to_end(connection: &mut Connection) {
        let mut rest = Vec::new();
        connection.read_to_end(&mut rest).await.expect("an end");
    }

    #[tokio::test]
    async fn a_memory_peer_that_half_closes_is_told_from_one_that_leaves() {
        let (mut client, mut server) = pair("memory://peer-state").await;
        client.write_all(b"more than nothing").await.expect("write");
        assert_eq!(state(&mut server).await, PeerState::Open);
        client.shutdown().await.expect("shutdown");
        read_to_end(&mut server).await;
        assert_eq!(state(&mut server).await, PeerState::HalfClosed);
        drop(client);
        assert_eq!(state(&mut server).await, PeerState::Closed);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn the_end_of_a_socket_is_seen_ahead_of_bytes_that_were_not_read() {
        let directory = tempfile::tempdir().expect("directory");
        let unix = format!("unix://{}", directory.path().join("peer.sock").display());
        for (endpoint, half_closed) in [
            (unix.as_str(), PeerState::HalfClosed),
            ("tcp://127.0.0.1:0", PeerState::Ended),
        ] {
            let (mut client, mut server) = pair(endpoint).await;
            client.write_all(b"not read").await.expect("write");
            assert_eq!(state(&mut server).await, PeerState::Open);
            client.shutdown().await.expect("shutdown");
            assert_eq!(state(&mut server).await, half_closed);
            drop(client);
            let is_closed = state(&mut server).await == PeerState::Closed;
            assert_eq!(is_closed, half_closed == PeerState::HalfClosed);
        }
    }
}
