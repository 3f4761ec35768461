//! The streams of HTTP/2 whose peers do not read their answers.
//!
//! hyper does not poll a body whose last chunk waits for the flow control of the peer. The body can
//! therefore not give up by itself: the task of its stream does.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    task::{Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::Instant;

use crate::deadline_timer::DeadlineTimer;

/// The chunks of an answer that wait for the peer. The task of the stream hands them out, and the
/// task of the connection drops them when they are written. `Relaxed` is sufficient: each counter
/// is a hint for a timeout.
#[derive(Debug)]
struct Unread {
    base: Instant,
    chunks: AtomicUsize,
    /// The nanoseconds from `base` to the time at which a chunk was taken, or was handed out while
    /// none waited.
    since: AtomicU64,
}

/// A chunk that waits for the peer until this value is dropped.
#[derive(Debug)]
struct Waiting(Arc<Unread>);

/// A chunk with what it releases when it has been written.
struct Part {
    bytes: Bytes,
    _waiting: Waiting,
}

tokio::task_local! {
    /// The stream of the current task.
    static STREAM: Arc<Unread>;
}

/// Runs the task of a stream of HTTP/2. The task ends early, which resets its stream, once the peer
/// has taken no chunk of its answer for `timeout`.
pub(super) async fn run(stream: impl Future, timeout: Duration) {
    let unread = Arc::new(Unread {
        base: Instant::now(),
        chunks: AtomicUsize::new(0),
        since: AtomicU64::new(0),
    });
    let mut stream = pin!(stream);
    let mut timer = DeadlineTimer::default();
    let watched = poll_fn(|cx| {
        if stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        while let Some(since) = unread.since() {
            ready!(timer.poll(cx, since + timeout));
            if unread.since() == Some(since) {
                tracing::debug!("stream reset: the peer does not read its answer");
                return Poll::Ready(());
            }
        }
        Poll::Pending
    });
    STREAM.scope(Arc::clone(&unread), watched).await;
}

/// Takes the next chunk of `rest`, which is all of it unless the task serves a stream of HTTP/2.
/// There, chunks of large bytes are copies: the peer cannot keep the whole by not reading a part.
pub(super) fn take_chunk(rest: &mut Bytes) -> Bytes {
    let Ok(waiting) = STREAM.try_with(Waiting::new) else {
        return std::mem::take(rest);
    };
    let bytes = if rest.len() > MAX_CHUNK {
        let chunk = rest.split_to(MAX_CHUNK);
        if rest.len() <= MAX_CHUNK {
            *rest = Bytes::copy_from_slice(rest);
        }
        Bytes::copy_from_slice(&chunk)
    } else {
        std::mem::take(rest)
    };
    Bytes::from_owner(Part {
        bytes,
        _waiting: waiting,
    })
}

impl Unread {
    /// Returns since when the peer has taken no chunk, or `None` if none waits.
    fn since(&self) -> Option<Instant> {
        let waits = self.chunks.load(Relaxed) > 0;
        waits.then(|| self.base + Duration::from_nanos(self.since.load(Relaxed)))
    }

    fn restart(&self) {
        let nanos = u64::try_from(self.base.elapsed().as_nanos());
        self.since.store(nanos.unwrap_or(u64::MAX), Relaxed);
    }
}

impl Waiting {
    fn new(unread: &Arc<Unread>) -> Self {
        if unread.chunks.fetch_add(1, Relaxed) == 0 {
            unread.restart();
        }
        Self(Arc::clone(unread))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.restart();
        self.0.chunks.fetch_sub(1, Relaxed);
    }
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The size of the chunks that a peer must take within the timeout.
const MAX_CHUNK: usize = 16 * 1024;
