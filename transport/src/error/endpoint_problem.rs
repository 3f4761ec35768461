//! What is wrong with the text of an endpoint.

use std::fmt;

/// What is wrong with the text of an endpoint.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndpointProblem {
    /// The text contains no `://`.
    NoScheme,
    /// `unix://` without a path.
    EmptyPath,
    /// The path contains a NUL byte, which no system accepts.
    NulInPath,
    /// A relative path without `./` or `../` in front, as in `unix://tmp/x.sock`, where usually
    /// `unix:///tmp/x.sock` is meant.
    BareRelativePath,
    /// The path begins with `~`, which only a shell expands.
    TildeInPath,
    /// `tcp://` without a host.
    EmptyHost,
    /// The host is neither a name nor an IP address.
    BadHost,
    /// There is no `:port` at the end.
    MissingPort,
    /// The port is not a decimal number from 0 to 65535.
    BadPort,
    /// A server can listen on port 0, but a client cannot connect to it.
    PortZero,
    /// `memory://` without a name.
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
            Self::EmptyName => "the name is empty",
        })
    }
}
