//! The combination of a carrier and a format that a test uses.

use agentwire::Format;

use crate::Carrier;

/// A carrier, and the format in which envelopes are encoded on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wire {
    /// The carrier that transmits the bytes.
    pub carrier: Carrier,
    /// The format of the requests. Servers reply in the same format.
    pub format: Format,
}

impl Wire {
    /// JSON over a Unix socket.
    pub const JSON_OVER_UNIX: Self = Self::new(Carrier::Unix, Format::Json);

    /// JSON over TCP.
    pub const JSON_OVER_TCP: Self = Self::new(Carrier::Tcp, Format::Json);

    /// JSON over WebSocket.
    pub const JSON_OVER_WEBSOCKET: Self = Self::new(Carrier::WebSocket, Format::Json);

    /// JSON over HTTP/1.1.
    pub const JSON_OVER_HTTP: Self = Self::new(Carrier::Http, Format::Json);

    /// JSON over HTTP/2 without TLS. Peers that speak only HTTP/1.1 make it HTTP/1.1.
    pub const JSON_OVER_H2C: Self = Self::new(Carrier::H2c, Format::Json);

    /// MessagePack over HTTP/1.1.
    pub const MSGPACK_OVER_HTTP: Self = Self::new(Carrier::Http, Format::MessagePack);

    /// gRPC. The format is that of the frame that the message is made from.
    pub const JSON_OVER_GRPC: Self = Self::new(Carrier::Grpc, Format::Json);

    /// MessagePack over WebSocket.
    pub const MSGPACK_OVER_WEBSOCKET: Self = Self::new(Carrier::WebSocket, Format::MessagePack);

    /// MessagePack over a Unix socket.
    pub const MSGPACK_OVER_UNIX: Self = Self::new(Carrier::Unix, Format::MessagePack);

    const fn new(carrier: Carrier, format: Format) -> Self {
        Self { carrier, format }
    }

    /// Returns a target that consists of the server at `endpoint` and this format.
    #[must_use]
    pub fn target(self, endpoint: &str) -> Target<'_> {
        Target {
            endpoint,
            format: self.format,
        }
    }
}

/// The server under test and the format of the requests.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The endpoint of the server.
    pub endpoint: &'a str,
    /// The format of the requests.
    pub format: Format,
}

/// Returns the name of a format in the command lines of `call.py` and `agentwire`.
pub(crate) fn codec_name(format: Format) -> &'static str {
    match format {
        Format::Json => "json",
        _ => "msgpack",
    }
}
