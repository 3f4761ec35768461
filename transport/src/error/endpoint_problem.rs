use std::fmt;

/// What is wrong with the text of an endpoint.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndpointProblem {
    /// There is no `://` in it.
    NoScheme,
    /// `unix://` without a path.
    EmptyPath,
    /// A path with a NUL byte, which no system takes.
    NulInPath,
    /// `tcp://` without a host.
    EmptyHost,
    /// The host is neither a name nor an IP address.
    BadHost,
    /// There is no `:port` at the end.
    MissingPort,
    /// The port is not a decimal number from 0 to 65535.
    BadPort,
    /// Port 0 can be listened on, but not connected to.
    PortZero,
    /// `memory://` without a name.
    EmptyName,
}

impl fmt::Display for EndpointProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoScheme => "it does not start with a scheme and `://`",
            Self::EmptyPath => "the path is empty",
            Self::NulInPath => "the path contains a NUL byte",
            Self::EmptyHost => "the host is empty",
            Self::BadHost => "the host is neither a name nor an IP address",
            Self::MissingPort => "the port is missing",
            Self::BadPort => "the port is not a number from 0 to 65535",
            Self::PortZero => "a client cannot connect to port 0",
            Self::EmptyName => "the name is empty",
        })
    }
}
