use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

#[cfg(unix)]
use tokio::io::Interest;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::task::coop;

use crate::{Credentials, Idle, Peer};

/// An open byte stream to a peer, over any transport.
///
/// Bytes go out as they are written, without a buffer of their own, so small writes should be
/// gathered by the caller: vectored writes are passed through. Dropping the connection closes it;
/// [`shutdown`](tokio::io::AsyncWriteExt::shutdown) closes the sending half alone.
pub struct Connection {
    stream: Stream,
    peer: Peer,
}

impl Connection {
    /// A connection over a stream of your own.
    ///
    /// `peer` is how people should see the far end, in logs for example.
    pub fn custom<S>(stream: S, peer: impl Into<String>) -> Self
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        Self {
            stream: Stream::Custom(Box::new(stream)),
            peer: Peer::Custom(peer.into()),
        }
    }

    #[cfg(unix)]
    pub(crate) fn unix(stream: UnixStream, peer: Peer) -> Self {
        Self {
            stream: Stream::Unix(stream),
            peer,
        }
    }

    pub(crate) fn tcp(stream: TcpStream, peer: Peer) -> Self {
        // Frames are written whole, so waiting for more bytes gains nothing and costs latency.
        // This can fail when the peer has gone already, which the first read will tell.
        let _ = stream.set_nodelay(true);
        Self {
            stream: Stream::Tcp(stream),
            peer,
        }
    }

    pub(crate) fn memory(stream: DuplexStream, name: String) -> Self {
        Self {
            stream: Stream::Memory(stream),
            peer: Peer::Memory(name),
        }
    }

    /// The far end.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Who is at the far end, as the kernel knows it. `None` unless this is a Unix socket.
    pub fn peer_credentials(&self) -> Option<Credentials> {
        match &self.stream {
            #[cfg(unix)]
            Stream::Unix(stream) => {
                let found = stream.peer_cred().ok()?;
                Some(Credentials {
                    uid: found.uid(),
                    gid: found.gid(),
                    pid: found.pid(),
                })
            }
            _ => None,
        }
    }

    /// Looks, without waiting, whether a connection that should be idle still is.
    ///
    /// This is for a pool, before it hands out a connection that sat there for a while. Anything
    /// but [`Idle::Quiet`] means that the connection should be dropped, not read: a byte may have
    /// been taken from the stream. Quiet is no promise, since the peer may close at any time.
    ///
    /// Sockets are asked with one system call that takes nothing from the stream. Other streams
    /// are polled once.
    pub fn probe(&mut self) -> Idle {
        match &mut self.stream {
            #[cfg(unix)]
            Stream::Unix(stream) => peek(stream),
            #[cfg(unix)]
            Stream::Tcp(stream) => peek(stream),
            #[cfg(not(unix))]
            Stream::Tcp(stream) => poll_once(stream),
            Stream::Memory(stream) => poll_once(stream),
            Stream::Custom(stream) => poll_once(stream),
        }
    }

    /// As [`probe`](Self::probe), but may look only at what the runtime has noticed.
    ///
    /// This is for a connection that was in use a moment ago. For a Unix socket where nothing has been noticed,
    /// which is the rule, it costs no system call. What came or ended since the runtime last asked the system for
    /// news may go unseen; a write to a Unix socket that the peer has closed then fails, and sends nothing. TCP takes
    /// such a write, so that its sockets are asked in any case.
    pub fn probe_cached(&mut self) -> Idle {
        match &mut self.stream {
            #[cfg(unix)]
            Stream::Unix(stream) => {
                let stream = &*stream;
                noticed(stream.try_io(Interest::READABLE, || not_quiet(stream)))
            }
            _ => self.probe(),
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

enum Stream {
    #[cfg(unix)]
    Unix(UnixStream),
    Tcp(TcpStream),
    Memory(DuplexStream),
    Custom(Box<dyn ByteStream>),
}

trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for S {}

macro_rules! delegate {
    ($stream:expr, $inner:ident => $call:expr) => {
        match $stream {
            #[cfg(unix)]
            Stream::Unix($inner) => $call,
            Stream::Tcp($inner) => $call,
            Stream::Memory($inner) => $call,
            Stream::Custom($inner) => $call,
        }
    };
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        delegate!(&mut self.stream, stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        delegate!(&mut self.stream, stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        delegate!(&mut self.stream, stream => Pin::new(stream).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        delegate!(&self.stream, stream => stream.is_write_vectored())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(&mut self.stream, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(&mut self.stream, stream => Pin::new(stream).poll_shutdown(cx))
    }
}

#[cfg(unix)]
fn peek(socket: impl std::os::fd::AsFd) -> Idle {
    use rustix::io::Errno;
    use rustix::net::{RecvFlags, recv};

    let mut byte = [0_u8; 1];
    loop {
        return match recv(&socket, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            Ok((_, 0)) => Idle::Closed,
            Ok(_) => Idle::Unexpected,
            Err(Errno::AGAIN) => Idle::Quiet,
            Err(Errno::INTR) => continue,
            Err(_) => Idle::Closed,
        };
    }
}

/// Quiet is said as the runtime says it, so that it forgets what it had noticed.
#[cfg(unix)]
fn not_quiet(socket: impl std::os::fd::AsFd) -> io::Result<Idle> {
    match peek(socket) {
        Idle::Quiet => Err(io::ErrorKind::WouldBlock.into()),
        found => Ok(found),
    }
}

#[cfg(unix)]
fn noticed(found: io::Result<Idle>) -> Idle {
    match found {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Idle::Quiet,
        Err(_) => Idle::Closed,
    }
}

fn poll_once(stream: &mut (impl AsyncRead + Unpin)) -> Idle {
    let mut byte = [0_u8; 1];
    let mut buf = ReadBuf::new(&mut byte);
    // A task that has used up its turn would see "nothing there" on a closed stream.
    let read = coop::unconstrained(std::future::poll_fn(|cx| {
        Pin::new(&mut *stream).poll_read(cx, &mut buf)
    }));
    let polled = std::pin::pin!(read).poll(&mut Context::from_waker(Waker::noop()));
    match polled {
        Poll::Pending => Idle::Quiet,
        Poll::Ready(Ok(())) if buf.filled().is_empty() => Idle::Closed,
        Poll::Ready(Ok(())) => Idle::Unexpected,
        Poll::Ready(Err(_)) => Idle::Closed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_send_and_unpin() {
        fn check<T: Send + Unpin + 'static>() {}
        check::<Connection>();
    }

    #[test]
    fn debug_shows_the_peer_and_nothing_else() {
        let (near, _far) = tokio::io::duplex(8);
        let shown = format!("{:?}", Connection::custom(near, "a line"));
        assert_eq!(shown, r#"Connection { peer: Custom("a line"), .. }"#);
    }

    #[test]
    fn a_boxed_stream_keeps_its_vectored_writes() {
        let (near, _far) = tokio::io::duplex(8);
        assert!(Connection::custom(near, "").is_write_vectored());
    }

    #[tokio::test]
    async fn both_sides_of_tcp_send_without_delay() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("bind");
        let address = listener.local_addr().expect("address");
        let client = TcpStream::connect(address).await.expect("connect");
        let (server, _) = listener.accept().await.expect("accept");
        for stream in [client, server] {
            match Connection::tcp(stream, Peer::Tcp(address)).stream {
                Stream::Tcp(stream) => assert!(stream.nodelay().expect("option")),
                _ => panic!("not TCP"),
            }
        }
    }

    #[tokio::test]
    async fn a_probe_sees_the_end_even_when_the_task_has_used_up_its_turn() {
        let (near, far) = tokio::io::duplex(8);
        let mut connection = Connection::memory(near, "a".to_owned());
        drop(far);
        while coop::has_budget_remaining() {
            coop::consume_budget().await;
        }
        assert_eq!(connection.probe(), Idle::Closed);
    }
}
