use std::{fmt, io};

/// What is at the path of a socket, and stays there.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PathInUse {
    /// A file, directory, symbolic link or anything else that is not a socket.
    NotASocket,
    /// A socket on which a server answers.
    Answered,
    /// A socket that could not be asked, for this reason.
    Unclear(io::ErrorKind),
}

impl fmt::Display for PathInUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotASocket => {
                f.write_str("what is there is not a socket; remove it or use another path")
            }
            Self::Answered => {
                f.write_str("a server answers there; stop it first or use another path")
            }
            Self::Unclear(kind) => write!(
                f,
                "there is a socket, and whether a server has it cannot be told ({kind}); \
                 remove it or use another path"
            ),
        }
    }
}
