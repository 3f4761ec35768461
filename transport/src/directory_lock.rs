use std::fs::File;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use tokio::time::{Instant, sleep};

use crate::{Error, internal::Backoff};

/// The turn of one binder in a directory.
///
/// Without it, two servers that start on the same stale socket can both find it stale; the slower
/// one then removes the fresh socket of the faster one. The lock is on the directory itself, so no
/// lock file is left behind, and the system lets go of it when the process ends.
pub(crate) struct DirectoryLock {
    // Closing the file gives the lock back.
    _directory: Option<File>,
}

impl DirectoryLock {
    /// Waits for the lock, but not for long. Binders hold it for an instant only; a program that
    /// keeps it has something else in mind.
    ///
    /// A directory that cannot be read, or is on a file system without locks, is not locked: the
    /// guard against two starts at once is lost there, and nothing else.
    pub(crate) async fn acquire(directory: &Path) -> Result<Self, Error> {
        let Ok(file) = File::open(directory) else {
            return Ok(Self { _directory: None });
        };
        let deadline = Instant::now() + PATIENCE;
        let mut backoff = Backoff::new(FIRST_PAUSE, MAX_PAUSE);
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

const PATIENCE: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const MAX_PAUSE: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::*;

    #[tokio::test]
    async fn a_second_turn_begins_when_the_first_ends() {
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
    async fn a_directory_that_cannot_be_opened_is_not_locked() {
        let lock = DirectoryLock::acquire(Path::new("no/such/directory"))
            .await
            .expect("no lock");
        assert!(lock._directory.is_none());
    }
}
