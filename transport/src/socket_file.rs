//! The file of a Unix socket, which is removed only if it is stale or belongs to this listener.

use std::{
    fs::{self, DirBuilder, Metadata},
    io,
    os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{net::UnixStream, time::sleep};

use crate::{Endpoint, Error, PathInUse};

/// The file of a listening socket. Dropping the value removes the file unless another file has
/// replaced it.
pub(crate) struct SocketFile {
    path: PathBuf,
    identity: Option<Identity>,
}

impl SocketFile {
    /// Records the identity of the file that a bind to `path` has just created.
    pub(crate) fn just_made(path: &Path) -> Self {
        // Use the absolute path, because the working directory may change before the file is
        // removed.
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
            // Ignore an error: the file is then stale, and the next server removes it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Returns the directory that contains `path`. For a file name without a directory, this is the
/// working directory.
pub(crate) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Creates a directory and its missing parents with mode 0700. The mode of existing directories
/// does not change.
pub(crate) fn create_directory(directory: &Path) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
}

/// Removes the file at `path` if it is a socket on which no server listens. The caller must hold
/// the directory lock.
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

    let Some(found) = metadata(path).map_err(failed)? else {
        return Ok(());
    };
    if !found.file_type().is_socket() {
        return Err(in_use(PathInUse::NotASocket));
    }
    match status(path).await {
        Status::Missing => return Ok(()),
        Status::Stale => {}
        Status::InUse(reason) => return Err(in_use(reason)),
    }
    // A server that does not use the lock may have replaced the file in the meantime.
    match metadata(path).map_err(failed)? {
        Some(now) if Identity::of(&now) == Identity::of(&found) => match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

/// The status of a socket file, determined by a connection attempt.
enum Status {
    /// No process has the socket open.
    Stale,
    /// The file no longer exists.
    Missing,
    /// The file must not be removed.
    InUse(PathInUse),
}

/// Checks whether a server listens on the socket. Does not wait until the server accepts the
/// connection.
async fn status(path: &Path) -> Status {
    let mut attempt = 1;
    loop {
        // Tokio's `connect` does not block, so it returns immediately even if the backlog is full.
        let Err(error) = UnixStream::connect(path).await else {
            return Status::InUse(PathInUse::Answered);
        };
        match error.kind() {
            io::ErrorKind::WouldBlock => return Status::InUse(PathInUse::Answered),
            io::ErrorKind::NotFound => return Status::Missing,
            io::ErrorKind::ConnectionRefused if attempt == ATTEMPTS => return Status::Stale,
            io::ErrorKind::ConnectionRefused => sleep(PAUSE).await,
            kind => return Status::InUse(PathInUse::Unclear(kind)),
        }
        attempt += 1;
    }
}

fn metadata(path: &Path) -> io::Result<Option<Metadata>> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The identity of a file, which distinguishes it from a later file at the same path.
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

/// The number of refused connections that prove that a socket is stale. Linux refuses a connection
/// only if no server listens. Other systems also refuse connections while the backlog is full, so
/// one refusal is not sufficient.
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
