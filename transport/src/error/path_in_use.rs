//! The reason why a path cannot be reused for a socket.

use std::{fmt, io};

/// The reason why the existing file at the path of a socket is not removed.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PathInUse {
    /// The path is a file, directory, symbolic link or anything else that is not a socket.
    NotASocket,
    /// The path is a socket on which a server accepts connections.
    Answered,
    /// The path is a socket to which a connection failed, but the error does not prove that the
    /// socket is stale.
    Unclear(io::ErrorKind),
}

impl fmt::Display for PathInUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotASocket => {
                f.write_str("the path exists and is not a socket; remove it or use another path")
            }
            Self::Answered => {
                f.write_str("a server answers there; stop it first or use another path")
            }
            Self::Unclear(kind) => write!(
                f,
                "there is a socket that may belong to a server ({kind}); \
                 remove it or use another path"
            ),
        }
    }
}
