//! An advisory lock on a socket's directory.

use std::{fs::File, path::Path, time::Duration};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};
use tokio::time::{Instant, sleep};

use crate::{Error, internal::Backoff};

/// The lock that a server holds on a directory while it binds a socket there.
///
/// Without it, two servers that start at the same time can both find the same socket file stale;
/// the slower one then removes the new socket of the faster one. The lock is on the directory
/// itself, so it leaves no lock file behind, and the system releases it when the process exits.
pub(crate) struct DirectoryLock {
    // Closing the file releases the lock.
    _directory: Option<File>,
}

impl DirectoryLock {
    /// Waits for the lock, for at most `ACQUIRE_TIMEOUT`.
    ///
    /// A directory that cannot be opened, or whose file system has no locks, is left unlocked:
    /// binding still works, but concurrent starts are not protected from each other.
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

/// How long to wait for the lock. Servers hold it for milliseconds, so a longer wait means that
/// another program locks the directory for its own purpose.
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
