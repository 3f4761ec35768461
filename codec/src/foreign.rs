//! Recognizes peers that speak another protocol.

use std::fmt;

/// What a peer appears to speak in place of frames.
///
/// A length in front of every payload is the only thing that tells frames from other bytes
/// (PROTOCOL 1.1). The first bytes of the usual text protocols and of TLS, read as a length, are far
/// beyond any sensible limit, so they are recognized without a risk for real frames.
///
/// ```
/// use agentwire_codec::{ForeignProtocol, FrameError, peek_frame};
///
/// let answer = b"HTTP/1.1 400 Bad Request\r\n\r\n";
/// let error = peek_frame(answer, 10 * 1024 * 1024).unwrap_err();
/// let FrameError::ForeignProtocol { protocol, .. } = error else {
///     panic!("{error}");
/// };
/// assert_eq!(protocol, ForeignProtocol::Http);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForeignProtocol {
    /// An HTTP request or response.
    Http,
    /// A record of TLS.
    Tls,
    /// The greeting of SSH.
    Ssh,
    /// An envelope, or other JSON, without a length in front.
    Json,
    /// Any other text, such as the greeting of a mail server.
    Text,
}

impl ForeignProtocol {
    /// Recognizes a protocol by the first four bytes of a peer.
    #[must_use]
    pub fn detect(start: [u8; 4]) -> Option<Self> {
        match &start {
            b"HTTP" | b"GET " | b"HEAD" | b"POST" | b"PUT " | b"DELE" | b"CONN" | b"OPTI"
            | b"TRAC" | b"PATC" | b"PRI " => Some(Self::Http),
            // The type of the record and the major version.
            [0x14..=0x18, 3, 0..=4, _] => Some(Self::Tls),
            b"SSH-" => Some(Self::Ssh),
            [b'{', b'"' | b'}' | b' ' | b'\t' | b'\r' | b'\n', ..] | [b'[', b'{' | b'"', ..] => {
                Some(Self::Json)
            }
            text if text.iter().all(|&byte| is_text(byte)) => Some(Self::Text),
            _ => None,
        }
    }

    fn advice(self) -> &'static str {
        match self {
            Self::Http | Self::Ssh | Self::Text => "check the host and the port",
            Self::Tls => "use a port without TLS, or a carrier that adds TLS on both sides",
            Self::Json => "put the length of each envelope in front of it, as four bytes",
        }
    }

    /// Writes which protocol was found, and what to do.
    pub(crate) fn explain(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "peer sent {self} and not agentwire frames; {}",
            self.advice()
        )
    }
}

impl fmt::Display for ForeignProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "HTTP",
            Self::Tls => "TLS",
            Self::Ssh => "SSH",
            Self::Json => "JSON without lengths",
            Self::Text => "plain text",
        })
    }
}

fn is_text(byte: u8) -> bool {
    matches!(byte, b' '..=b'~' | b'\t' | b'\r' | b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DEFAULT_FRAME_LIMIT;

    #[test]
    fn the_usual_protocols_are_recognized_by_their_first_bytes() {
        use ForeignProtocol::*;
        for (start, expected) in [
            (&b"HTTP/1.1 400 Bad Request\r\n"[..], Http),
            (b"GET / HTTP/1.1\r\n", Http),
            (b"POST /call HTTP/1.1\r\n", Http),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Http),
            (b"\x16\x03\x01\x02\x00\x01", Tls),
            (b"\x15\x03\x03\x00\x02\x02\x46", Tls),
            (b"SSH-2.0-OpenSSH_9.6\r\n", Ssh),
            (b"{\"type\": \"request\"}\n", Json),
            (b"{\n  \"type\": \"request\"}", Json),
            (b"[{\"type\"", Json),
            (b"220 mail.example ESMTP\r\n", Text),
            (b"-ERR unknown command\r\n", Text),
            (b"*1\r\n$4\r\nPING\r\n", Text),
            (b"\r\n\r\n", Text),
        ] {
            let header = start.first_chunk().unwrap();
            assert_eq!(
                ForeignProtocol::detect(*header),
                Some(expected),
                "{start:?}"
            );
        }
    }

    #[test]
    fn no_length_within_the_default_limit_is_taken_for_another_protocol() {
        for len in (0..=DEFAULT_FRAME_LIMIT as u32).step_by(251) {
            assert_eq!(ForeignProtocol::detect(len.to_be_bytes()), None, "{len}");
        }
        for len in [DEFAULT_FRAME_LIMIT as u32 + 1, 100_000_000, u32::MAX] {
            assert_eq!(ForeignProtocol::detect(len.to_be_bytes()), None, "{len}");
        }
    }
}
