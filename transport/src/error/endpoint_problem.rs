//! The reason why the text of an endpoint is invalid.

use std::fmt;

/// The reason why the text of an endpoint is invalid.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndpointProblem {
    /// The text contains no `://`.
    NoScheme,
    /// The path after `unix://` is empty.
    EmptyPath,
    /// The path contains a NUL byte, which no operating system accepts.
    NulInPath,
    /// The path is relative and does not begin with `./` or `../`, as in `unix://tmp/x.sock`.
    /// Usually, `unix:///tmp/x.sock` is intended.
    BareRelativePath,
    /// The path begins with `~`, which only shells expand.
    TildeInPath,
    /// The host after `tcp://` or `tls://` is empty.
    EmptyHost,
    /// The host is neither a name nor an IP address.
    BadHost,
    /// The text does not end with `:port`.
    MissingPort,
    /// The port is not a decimal number from 0 to 65535.
    BadPort,
    /// The port is 0. A server can bind to port 0, but a client cannot connect to it.
    PortZero,
    /// The path of a URL has characters that must be escaped, or the scheme allows no path or no
    /// query.
    BadPath,
    /// The name after `memory://` is empty.
    EmptyName,
}

impl fmt::Display for EndpointProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoScheme => "it does not begin with a scheme and `://`",
            Self::EmptyPath => "the path is empty",
            Self::NulInPath => "the path contains a NUL byte",
            Self::BareRelativePath => "the path is relative",
            Self::TildeInPath => "`~` in the path is not expanded",
            Self::EmptyHost => "the host is empty",
            Self::BadHost => "the host is neither a name nor an IP address",
            Self::MissingPort => "the port is missing",
            Self::BadPort => "the port is not a number from 0 to 65535",
            Self::PortZero => "a client cannot connect to port 0",
            Self::BadPath => "the path is not valid for this scheme",
            Self::EmptyName => "the name is empty",
        })
    }
}
