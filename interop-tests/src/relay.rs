//! A relay that forwards bytes in order, and breaks connections in many ways.

use std::{
    collections::BTreeMap,
    fmt, io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use agentwire::{Endpoint, transport::internal::Mutex};
use agentwire_codec::HEADER_LEN;
use fastrand::Rng;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf, ReadHalf, WriteHalf, split},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    task::{JoinHandle, JoinSet},
    time::sleep,
};

use crate::TestFailure;

/// A relay between clients and a server.
///
/// Each connection has a fate, which the relay draws from a seed. Bytes are never changed,
/// duplicated or reordered. [`cut`](Self::cut) closes all connections at any time.
#[derive(Debug)]
pub struct Relay {
    endpoint: Endpoint,
    accepting: JoinHandle<()>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    connections: Mutex<JoinSet<()>>,
    fates: Mutex<BTreeMap<&'static str, u64>>,
}

impl Relay {
    /// Listens on `near`, and opens a connection to `far` for each client. For TCP with port 0, the
    /// system chooses the port.
    ///
    /// # Errors
    ///
    /// Returns an error if the relay cannot listen.
    pub async fn start(near: &str, far: &str, seed: u64) -> Result<Self, TestFailure> {
        let (far, near) = (far.parse::<Endpoint>()?, near.parse::<Endpoint>()?);
        let listener = match &near {
            Endpoint::Unix { path, .. } => Listener::Unix(UnixListener::bind(path)?),
            Endpoint::Tcp { host, port, .. } => {
                Listener::Tcp(TcpListener::bind((host.as_str(), *port)).await?)
            }
            other => return Err(TestFailure::new(format!("cannot listen on {other}"))),
        };
        let endpoint = match &listener {
            Listener::Unix(_) => near,
            Listener::Tcp(listener) => listener.local_addr()?.into(),
        };
        let shared = Arc::<Shared>::default();
        let (all, mut random) = (Arc::clone(&shared), Rng::with_seed(seed));
        let accepting = tokio::spawn(async move {
            while let Ok(client) = listener.accept().await {
                let fate = Fate::draw(&mut random);
                *all.fates.lock().entry(fate.name()).or_default() += 1;
                let far = far.clone();
                let mut connections = all.connections.lock();
                while connections.try_join_next().is_some() {}
                connections.spawn(async move {
                    // If no server listens, the connection of the client is closed.
                    if let Ok(server) = Socket::connect(&far).await {
                        fate.relay(client, server).await;
                    }
                });
            }
        });
        Ok(Self {
            endpoint,
            accepting,
            shared,
        })
    }

    /// Returns the endpoint that clients connect to.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Closes all connections immediately, even in the middle of a frame.
    pub fn cut(&self) {
        self.shared.connections.lock().abort_all();
    }

    /// Returns the number of connections with each fate, by the name of the fate.
    #[must_use]
    pub fn fates(&self) -> BTreeMap<&'static str, u64> {
        self.shared.fates.lock().clone()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

/// What happens to one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// The connection lasts until one side closes it.
    Whole,
    /// Small pieces of bytes travel with pauses, until both sides are closed.
    Slow { requests: u32 },
    /// Each piece of bytes travels after a pause, until both sides are closed.
    Delayed { requests: u32 },
    /// Both sides are closed after this number of bytes in one direction.
    Cut { after: usize },
    /// Both sides are reset right after this number of whole requests.
    ResetAfterRequests(u32),
    /// Both sides are reset right after this number of whole answers.
    ResetAfterAnswers(u32),
    /// The sending half is closed after this number of whole requests. Answers still travel.
    HalfClosed { after_requests: u32 },
    /// Nothing travels after this number of whole requests. The connection stays open.
    Frozen { after_requests: u32 },
}

impl Fate {
    fn draw(random: &mut Rng) -> Self {
        // Mostly a few frames, sometimes very many.
        let most = 1 << random.u32(1..10);
        let frames = random.u32(1..=most);
        match random.u8(..16) {
            0..6 => Self::Whole,
            6 => Self::Slow { requests: frames },
            7 => Self::Delayed { requests: frames },
            8 | 9 => Self::Cut {
                after: {
                    let most = 1 << random.u32(4..18);
                    random.usize(..most)
                },
            },
            10 | 11 => Self::ResetAfterRequests(frames),
            12 => Self::ResetAfterAnswers(frames),
            13 | 14 => Self::HalfClosed {
                after_requests: frames,
            },
            _ => Self::Frozen {
                after_requests: frames,
            },
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Slow { .. } => "slow",
            Self::Delayed { .. } => "delayed",
            Self::Cut { .. } => "cut",
            Self::ResetAfterRequests(_) => "reset after requests",
            Self::ResetAfterAnswers(_) => "reset after answers",
            Self::HalfClosed { .. } => "half-closed",
            Self::Frozen { .. } => "frozen",
        }
    }

    /// Forwards bytes until the connection has met its fate.
    async fn relay(self, client: Socket, server: Socket) {
        let resets = matches!(
            self,
            Self::ResetAfterRequests(_) | Self::ResetAfterAnswers(_)
        );
        if resets {
            // The sockets are reset when they are dropped.
            client.reset_on_drop();
            server.reset_on_drop();
        }
        let (from_client, to_client) = split(client);
        let (from_server, to_server) = split(server);
        let (mut requests, mut answers) = (
            Pump::new(from_client, to_server),
            Pump::new(from_server, to_client),
        );
        match self {
            Self::Whole => {}
            Self::Slow { requests: most } => {
                requests.end = Limit::Frames(most);
                requests.pace = Some((256, Duration::from_millis(1)));
                answers.pace = Some((1024, Duration::from_millis(1)));
            }
            Self::Delayed { requests: most } => {
                requests.end = Limit::Frames(most);
                let pace = Some((BUFFER_LEN, Duration::from_millis(2)));
                (requests.pace, answers.pace) = (pace, pace);
            }
            Self::Cut { after } => {
                requests.end = Limit::Bytes(after);
                answers.end = Limit::Bytes(after);
            }
            Self::ResetAfterAnswers(frames) => answers.end = Limit::Frames(frames),
            Self::ResetAfterRequests(frames)
            | Self::HalfClosed {
                after_requests: frames,
            }
            | Self::Frozen {
                after_requests: frames,
            } => requests.end = Limit::Frames(frames),
        }
        let mut requests = pin!(requests.run());
        let mut answers = pin!(answers.run());
        let ended = tokio::select! {
            ended = &mut requests => (ended, true),
            ended = &mut answers => (ended, false),
        };
        match ended {
            // The other direction goes on.
            (End::Closed, true) => drop(answers.await),
            (End::Closed, false) => drop(requests.await),
            (End::Limit(mut to_server), true) => match self {
                Self::HalfClosed { .. } => {
                    let _ = to_server.shutdown().await;
                    drop(answers.await);
                }
                Self::Frozen { .. } => sleep(FROZEN).await,
                _ => {}
            },
            (End::Limit(_) | End::Broken, _) => {}
        }
    }
}

/// One direction of a connection.
struct Pump {
    from: ReadHalf<Socket>,
    to: WriteHalf<Socket>,
    end: Limit,
    /// The most bytes of a piece, and the pause before it.
    pace: Option<(usize, Duration)>,
}

/// What a direction forwards at most.
#[derive(Debug, Clone, Copy)]
enum Limit {
    None,
    Bytes(usize),
    Frames(u32),
}

/// How a direction ended.
enum End {
    /// The sender closed its half, and the receiver has been told.
    Closed,
    /// The limit was reached. The receiver has not been told.
    Limit(WriteHalf<Socket>),
    /// A side failed.
    Broken,
}

impl Pump {
    fn new(from: ReadHalf<Socket>, to: WriteHalf<Socket>) -> Self {
        Self {
            from,
            to,
            end: Limit::None,
            pace: None,
        }
    }

    async fn run(mut self) -> End {
        let most = self.pace.map_or(BUFFER_LEN, |(most, _)| most);
        let mut buffer = vec![0; most];
        let mut frames = FrameCounter::default();
        loop {
            let piece = match self.from.read(&mut buffer).await {
                Ok(0) => {
                    return match self.to.shutdown().await {
                        Ok(()) => End::Closed,
                        Err(_) => End::Broken,
                    };
                }
                Ok(len) => &buffer[..len],
                Err(_) => return End::Broken,
            };
            if let Some((_, pause)) = self.pace {
                sleep(pause).await;
            }
            let (len, is_last) = match &mut self.end {
                Limit::None => (piece.len(), false),
                Limit::Bytes(left) => {
                    let len = piece.len().min(*left);
                    *left -= len;
                    (len, *left == 0)
                }
                Limit::Frames(left) => frames.take(piece, left),
            };
            if self.to.write_all(&piece[..len]).await.is_err() {
                return End::Broken;
            }
            if is_last {
                return End::Limit(self.to);
            }
        }
    }
}

/// Finds the ends of frames in a stream of bytes.
#[derive(Debug, Default)]
struct FrameCounter {
    header: [u8; HEADER_LEN],
    /// The number of bytes of the current header that have passed.
    header_len: usize,
    /// The number of bytes of the current payload that have not passed.
    payload_left: usize,
}

impl FrameCounter {
    /// Returns the number of bytes of a piece up to the end of the last frame that is left, and
    /// whether that end was found.
    fn take(&mut self, piece: &[u8], left: &mut u32) -> (usize, bool) {
        let mut at = 0;
        while at < piece.len() {
            if self.header_len < HEADER_LEN {
                self.header[self.header_len] = piece[at];
                self.header_len += 1;
                at += 1;
                if self.header_len == HEADER_LEN {
                    self.payload_left = u32::from_be_bytes(self.header) as usize;
                }
            } else {
                let len = self.payload_left.min(piece.len() - at);
                self.payload_left -= len;
                at += len;
            }
            if self.header_len == HEADER_LEN && self.payload_left == 0 {
                self.header_len = 0;
                *left -= 1;
                if *left == 0 {
                    return (at, true);
                }
            }
        }
        (at, false)
    }
}

/// A listener on a Unix socket or a TCP port.
enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl Listener {
    async fn accept(&self) -> io::Result<Socket> {
        Ok(match self {
            Self::Unix(listener) => Socket::Unix(listener.accept().await?.0),
            Self::Tcp(listener) => Socket::tcp(listener.accept().await?.0)?,
        })
    }
}

/// A Unix or TCP stream.
pub enum Socket {
    /// A stream over a Unix socket.
    Unix(UnixStream),
    /// A stream over TCP.
    Tcp(TcpStream),
}

impl Socket {
    /// Connects to a Unix or TCP endpoint.
    ///
    /// # Errors
    ///
    /// Returns an error if no server accepts the connection.
    pub async fn connect(endpoint: &Endpoint) -> io::Result<Self> {
        match endpoint {
            Endpoint::Unix { path, .. } => Ok(Self::Unix(UnixStream::connect(path).await?)),
            Endpoint::Tcp { host, port, .. } => {
                Self::tcp(TcpStream::connect((host.as_str(), *port)).await?)
            }
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    fn tcp(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self::Tcp(stream))
    }

    /// Resets a TCP connection when the value is dropped. A Unix socket is reset only if it has
    /// unread bytes.
    pub fn reset_on_drop(&self) {
        if let Self::Tcp(stream) = self {
            // If the peer has closed the connection, there is nothing to reset.
            let _ = stream.set_zero_linger();
        }
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unix(_) => "Socket(unix)",
            Self::Tcp(_) => "Socket(tcp)",
        })
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

const BUFFER_LEN: usize = 16 * 1024;

/// How long a frozen connection stays open.
const FROZEN: Duration = Duration::from_millis(300);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_end_where_their_lengths_say_in_any_pieces() {
        let bytes = [&[0, 0, 0, 2, 1, 1][..], &[0, 0, 0, 0], &[0, 0, 0, 1, 7]].concat();
        for (frames, end) in [(1, 6), (2, 10), (3, 15)] {
            for piece_len in 1..=bytes.len() {
                let (mut counter, mut left) = (FrameCounter::default(), frames);
                let mut taken = 0;
                for piece in bytes.chunks(piece_len) {
                    let (len, is_last) = counter.take(piece, &mut left);
                    taken += len;
                    if is_last {
                        break;
                    }
                }
                assert_eq!((taken, left), (end, 0), "pieces of {piece_len}");
            }
        }
    }
}
