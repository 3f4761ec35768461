//! The endpoints of WebSocket, HTTP and gRPC.

use std::fmt;

use crate::EndpointProblem;

/// The parts of an [`Endpoint::Url`](crate::Endpoint::Url).
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Url {
    /// The scheme, which determines the carrier.
    pub scheme: UrlScheme,
    /// The host name or IP address, without brackets.
    pub host: String,
    /// The port. Parsing sets the default port of the scheme if the text has none.
    pub port: u16,
    /// The path, with the query of a WebSocket. It is empty or begins with a slash. Only the path
    /// of a WebSocket may end with a slash.
    pub path: String,
}

/// The scheme of an [`Endpoint::Url`](crate::Endpoint::Url).
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum UrlScheme {
    /// WebSocket.
    Ws,
    /// WebSocket over TLS.
    Wss,
    /// HTTP.
    Http,
    /// HTTP over TLS.
    Https,
    /// HTTP without TLS, with the version that the client prefers.
    H2c,
    /// gRPC.
    Grpc,
    /// gRPC over TLS.
    Grpcs,
}

impl UrlScheme {
    pub(super) fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "ws" => Self::Ws,
            "wss" => Self::Wss,
            "http" => Self::Http,
            "https" => Self::Https,
            "h2c" => Self::H2c,
            "grpc" => Self::Grpc,
            "grpcs" => Self::Grpcs,
            _ => return None,
        })
    }

    /// Returns the text of the scheme, such as `ws`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ws => "ws",
            Self::Wss => "wss",
            Self::Http => "http",
            Self::Https => "https",
            Self::H2c => "h2c",
            Self::Grpc => "grpc",
            Self::Grpcs => "grpcs",
        }
    }

    /// Returns whether the scheme uses TLS.
    pub fn is_secure(self) -> bool {
        matches!(self, Self::Wss | Self::Https | Self::Grpcs)
    }

    /// Returns whether the carrier is WebSocket.
    pub fn is_websocket(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }

    /// Returns whether the carrier is HTTP.
    pub fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Https | Self::H2c)
    }

    /// Returns whether the carrier is gRPC.
    pub fn is_grpc(self) -> bool {
        matches!(self, Self::Grpc | Self::Grpcs)
    }

    /// Returns the name of the carrier, for
    /// [`Error::MissingFeature`](crate::Error::MissingFeature).
    pub(crate) fn carrier(self) -> &'static str {
        match self {
            Self::Ws | Self::Wss => "WebSocket",
            Self::Http | Self::Https | Self::H2c => "HTTP",
            Self::Grpc | Self::Grpcs => "gRPC",
        }
    }

    /// Returns the feature that adds the carrier.
    pub(crate) fn features(self) -> &'static str {
        match self {
            Self::Ws | Self::Wss => "`websocket`",
            Self::Http | Self::Https | Self::H2c => "`http`",
            Self::Grpc | Self::Grpcs => "`grpc`",
        }
    }

    /// Returns the port that a URL without a port means.
    pub(super) fn default_port(self) -> u16 {
        match self {
            Self::Ws | Self::Http | Self::H2c => 80,
            Self::Wss | Self::Https | Self::Grpcs => 443,
            Self::Grpc => 50051,
        }
    }

    /// Validates a path, and returns it without the slashes that have no meaning.
    pub(super) fn check_path(self, path: &str) -> Result<&str, EndpointProblem> {
        let is_valid = |c: char| c.is_ascii_graphic() && !matches!(c, '#' | '"' | '<' | '>' | '\\');
        let has_query = path.contains('?');
        if path.is_empty() || path == "/" {
            return Ok("");
        }
        if !path.starts_with('/')
            || !path.chars().all(is_valid)
            || (has_query && !self.is_websocket())
            || self.is_grpc()
        {
            return Err(EndpointProblem::BadPath);
        }
        Ok(if self.is_websocket() {
            path
        } else {
            path.trim_end_matches('/')
        })
    }
}

impl fmt::Display for UrlScheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
