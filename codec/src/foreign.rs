//! Detection of peers that use a different protocol.

use std::fmt;

/// A protocol that a peer uses instead of frames, detected from its first bytes.
///
/// A frame has no marker other than its length ([PROTOCOL 1.1]). If the first bytes of a common
/// text protocol or of TLS are read as a length, the length is far above any sensible limit.
/// Therefore, these protocols can be detected without mistaking a valid frame for one of them.
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
///
/// [PROTOCOL 1.1]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#1-frames
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForeignProtocol {
    /// An HTTP request or response.
    Http,
    /// A TLS record.
    Tls,
    /// An SSH greeting.
    Ssh,
    /// An envelope or other JSON without a length prefix.
    Json,
    /// Any other text, such as the greeting of a mail server.
    Text,
}

impl ForeignProtocol {
    /// Detects the protocol from the first four bytes that a peer sent.
    #[must_use]
    pub fn detect(start: [u8; 4]) -> Option<Self> {
        match &start {
            b"HTTP" | b"GET " | b"HEAD" | b"POST" | b"PUT " | b"DELE" | b"CONN" | b"OPTI"
            | b"TRAC" | b"PATC" | b"PRI " => Some(Self::Http),
            // These bytes are the type of a TLS record and its version.
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
            Self::Json => "prepend the length of each envelope as four bytes",
        }
    }

    /// Writes the name of the detected protocol and advice for the user.
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
