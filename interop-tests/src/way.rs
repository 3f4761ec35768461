use agentwire::Format;

use crate::Carrier;

/// How the two sides of a test talk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    /// What carries the bytes.
    pub carrier: Carrier,
    /// What the client writes, and what it is answered in.
    pub format: Format,
}

impl Way {
    /// JSON over a Unix socket.
    pub const OVER_UNIX: Self = Self {
        carrier: Carrier::Unix,
        format: Format::Json,
    };

    /// JSON over TCP.
    pub const OVER_TCP: Self = Self {
        carrier: Carrier::Tcp,
        format: Format::Json,
    };

    /// MessagePack over a Unix socket.
    pub const IN_MSGPACK: Self = Self {
        carrier: Carrier::Unix,
        format: Format::MessagePack,
    };

    /// The server at an endpoint, spoken to in this way.
    #[must_use]
    pub fn to(self, endpoint: &str) -> Target<'_> {
        Target {
            endpoint,
            format: self.format,
        }
    }
}

/// The server under test, and the format in which to speak to it.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// Where it listens.
    pub endpoint: &'a str,
    /// The format of the requests.
    pub format: Format,
}

/// The name of a format on the command lines of `call.py` and `agentwire`.
pub(crate) fn codec_name(format: Format) -> &'static str {
    match format {
        Format::Json => "json",
        _ => "msgpack",
    }
}
