//! The task that reads the control frames of an idle client connection.

use std::{
    sync::Weak,
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::time::sleep;

use super::socket::Socket;
use crate::internal::Mutex;

/// A socket, which a stream and the task of an idle connection share.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) socket: Socket,
    /// The task that waits for bytes.
    reading: Option<Waker>,
    /// The task of a client, while it waits for the socket.
    keeper: Option<Waker>,
    /// Whether the connection was read since the last check of that task.
    is_used: bool,
}

impl Watched {
    pub(super) fn new(socket: Socket) -> Self {
        Self {
            socket,
            reading: None,
            keeper: None,
            is_used: false,
        }
    }

    /// Records that the connection is used, and the task that waits for bytes.
    pub(super) fn record_reader(&mut self, cx: &Context<'_>, is_pending: bool) {
        self.reading = is_pending.then(|| cx.waker().clone());
        self.is_used = true;
        if let Some(keeper) = self.keeper.take() {
            keeper.wake();
        }
    }

    /// Checks whether the connection is used. While it is not, processes control frames.
    fn poll_keeper(&mut self, cx: &mut Context<'_>) -> Poll<Option<Usage>> {
        if std::mem::take(&mut self.is_used) {
            return Poll::Ready(Some(Usage::Used));
        }
        let reading = self.reading.take();
        // Errors and the end are found again by the next read.
        let _ = self.socket.poll_control(cx);
        match reading {
            Some(reading) => {
                // The socket now wakes the task, so the reader has to register itself again.
                reading.wake();
                Poll::Ready(Some(Usage::Awaited))
            }
            None => {
                self.keeper = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// Reads the control frames of an idle connection.
///
/// While the connection is used, its readers answer pings. The task then only checks once in a
/// while whether the connection is still used. If it is not, the task waits for the socket itself,
/// until there is a reader again.
pub(super) async fn keep(watched: Weak<Mutex<Watched>>, interval: Duration) {
    let check = interval.min(MAX_CHECK_INTERVAL);
    let mut pause = check;
    loop {
        sleep(pause).await;
        let next = std::future::poll_fn(|cx| match watched.upgrade() {
            Some(watched) => watched.lock().poll_keeper(cx),
            None => Poll::Ready(None),
        });
        pause = match next.await {
            Some(Usage::Used) => check,
            Some(Usage::Awaited) => interval,
            None => return,
        };
    }
}

/// What the task of a client has found out about its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Usage {
    /// The connection was read since the last check.
    Used,
    /// A reader waits, or has waited and is gone.
    Awaited,
}

/// The maximum interval of the checks whether a connection is still used.
const MAX_CHECK_INTERVAL: Duration = Duration::from_secs(1);
