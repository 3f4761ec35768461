use std::fs::{self, DirBuilder, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::sleep;

use crate::{Endpoint, Error, PathInUse};

/// The file of a listening socket. Dropping it removes the file, if it is still the same.
pub(crate) struct SocketFile {
    path: PathBuf,
    identity: Option<Identity>,
}

impl SocketFile {
    /// The file that a bind to `path` has just made.
    pub(crate) fn just_made(path: &Path) -> Self {
        // Absolute, since the working directory can be another one when the file is removed.
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let made = fs::symlink_metadata(&path)
            .ok()
            .filter(|made| made.file_type().is_socket());
        let identity = made.as_ref().map(Identity::of);
        Self { path, identity }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let now = fs::symlink_metadata(&self.path)
            .ok()
            .as_ref()
            .map(Identity::of);
        if now.is_some() && now == self.identity {
            // If this fails, the next server finds a stale file and removes it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The directory that holds `path`; for a bare file name, the working directory.
pub(crate) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Makes a directory and its missing parents, for this user alone. One that exists stays as it is.
pub(crate) fn create_directory(directory: &Path) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
}

/// Removes the file at `path` if it is a socket on which nobody answers. The directory is locked.
pub(crate) async fn remove_stale(path: &Path) -> Result<(), Error> {
    let failed = |source| Error::Bind {
        endpoint: Endpoint::Unix {
            path: path.to_owned(),
        },
        source,
    };
    let in_use = |reason| Error::PathInUse {
        path: path.to_owned(),
        reason,
    };

    let Some(found) = look(path).map_err(failed)? else {
        return Ok(());
    };
    if !found.file_type().is_socket() {
        return Err(in_use(PathInUse::NotASocket));
    }
    match ask(path).await {
        Answer::Gone => return Ok(()),
        Answer::Refused => {}
        Answer::No(reason) => return Err(in_use(reason)),
    }
    // A server that does not know of the lock may have replaced the file meanwhile.
    match look(path).map_err(failed)? {
        Some(now) if Identity::of(&now) == Identity::of(&found) => match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

enum Answer {
    /// Nobody has the socket open.
    Refused,
    /// The file has gone.
    Gone,
    /// It must stay.
    No(PathInUse),
}

/// Asks whether a server has the socket, without ever waiting for one.
async fn ask(path: &Path) -> Answer {
    let mut attempt = 1;
    loop {
        // Tokio connects without blocking, so a server with a full backlog answers at once too.
        let Err(error) = UnixStream::connect(path).await else {
            return Answer::No(PathInUse::Answered);
        };
        match error.kind() {
            io::ErrorKind::WouldBlock => return Answer::No(PathInUse::Answered),
            io::ErrorKind::NotFound => return Answer::Gone,
            io::ErrorKind::ConnectionRefused if attempt == ATTEMPTS => return Answer::Refused,
            io::ErrorKind::ConnectionRefused => sleep(PAUSE).await,
            kind => return Answer::No(PathInUse::Unclear(kind)),
        }
        attempt += 1;
    }
}

fn look(path: &Path) -> io::Result<Option<Metadata>> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[derive(PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }
}

/// Linux refuses only where nobody listens. Other systems refuse a full backlog as well, so one
/// refusal proves little there.
const ATTEMPTS: u32 = if cfg!(any(target_os = "linux", target_os = "android")) {
    1
} else {
    5
};
const PAUSE: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_of_a_bare_name_is_the_working_directory() {
        for (path, directory) in [("a", "."), ("d/a", "d"), ("/a", "/"), ("/", ".")] {
            assert_eq!(directory_of(Path::new(path)), Path::new(directory));
        }
    }
}
