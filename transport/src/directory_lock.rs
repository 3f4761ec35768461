//! An advisory lock on the directory of a Unix socket.

use std::{fs::File, path::Path, time::Duration};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};
use tokio::time::{Instant, sleep};

use crate::{Error, internal::Backoff};

/// A lock on a directory, which a server holds while it binds a socket in the directory.
///
/// Without the lock, two servers that start at the same time could both consider the same socket
/// file stale. The slower server would then remove the new socket of the faster server. The lock is
/// on the directory itself, so no lock file is needed, and the system releases the lock when the
/// process exits.
pub(crate) struct DirectoryLock {
    // Closing this file releases the lock.
    _directory: Option<File>,
}

impl DirectoryLock {
    /// Acquires the lock. Waits for at most `ACQUIRE_TIMEOUT`.
    ///
    /// A directory stays unlocked if it cannot be opened or if its file system does not support
    /// locks. In this case, binding still works, but servers that start concurrently are not
    /// protected from each other.
    pub(crate) async fn acquire(directory: &Path) -> Result<Self, Error> {
        let Ok(file) = File::open(directory) else {
            return Ok(Self { _directory: None });
        };
        let deadline = Instant::now() + ACQUIRE_TIMEOUT;
        let mut backoff = Backoff::new(FIRST_DELAY, MAX_DELAY);
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {
                    return Ok(Self {
                        _directory: Some(file),
                    });
                }
                Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) if Instant::now() < deadline => {
                    sleep(backoff.next_delay()).await;
                }
                Err(Errno::WOULDBLOCK) => {
                    return Err(Error::DirectoryLocked {
                        directory: directory.to_owned(),
                    });
                }
                Err(_) => return Ok(Self { _directory: None }),
            }
        }
    }
}

/// The maximum time to wait for the lock. Servers hold the lock for milliseconds, so a longer wait
/// means that another program has locked the directory for a different purpose.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
const FIRST_DELAY: Duration = Duration::from_millis(1);
const MAX_DELAY: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::*;

    #[tokio::test]
    async fn a_second_lock_waits_until_the_first_is_dropped() {
        let directory = tempfile::tempdir().expect("directory");
        let first = DirectoryLock::acquire(directory.path())
            .await
            .expect("first");
        let mut second = Box::pin(DirectoryLock::acquire(directory.path()));
        assert!(
            second
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
                .is_pending()
        );
        drop(first);
        second.await.expect("second");
    }

    #[tokio::test]
    async fn a_directory_that_cannot_be_opened_is_left_unlocked() {
        let lock = DirectoryLock::acquire(Path::new("no/such/directory"))
            .await
            .expect("no lock");
        assert!(lock._directory.is_none());
    }
}
