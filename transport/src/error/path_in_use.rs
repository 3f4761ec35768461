//! Why a socket cannot take over a path.

use std::{fmt, io};

/// What occupies the path of a socket. It is never removed.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PathInUse {
    /// A file, directory, symbolic link or anything else that is not a socket.
    NotASocket,
    /// A socket on which a server answers.
    Answered,
    /// A socket that could not be connected to, for a reason that does not prove it stale.
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
