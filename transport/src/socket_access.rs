//! Who may connect to a Unix socket: [`SocketAccess`].

/// The users that may connect to a Unix socket. By default, only the user of the server may.
///
/// The file of the socket has mode 0600 until it has its group and mode, and the socket listens
/// only then.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[must_use]
pub struct SocketAccess {
    pub(crate) mode: Option<u32>,
    pub(crate) group: Option<u32>,
}

impl SocketAccess {
    /// Gives access to the user of the server.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the mode of the socket file, such as `0o660`. Only the nine permission bits count, and
    /// the umask does not apply. Who may write to the file may connect.
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = Some(mode & 0o777);
        self
    }

    /// Sets the group of the socket file by its id. The server must belong to the group, or run as
    /// root. Without a [`mode`](Self::mode), the group gets access: the mode is then 0660.
    pub fn group(mut self, group: u32) -> Self {
        self.group = Some(group);
        self
    }

    /// Returns the mode of the file, or `None` to keep the mode 0600.
    #[cfg(unix)]
    pub(crate) fn effective_mode(&self) -> Option<u32> {
        self.mode.or(self.group.map(|_| 0o660))
    }
}
