//! The log of the frames of a connection, and of the messages of carriers without frames.

use std::{
    fmt::Display,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use agentwire_codec::{Format, HEADER_LEN, json};
use agentwire_transport::Peer;
use tracing::Level;

/// Logs every frame of new connections and every message of HTTP and gRPC at the level trace, under
/// the target `agentwire::frames`.
///
/// Frames contain messages, so nothing is logged before a program calls this function. At most
/// `max_shown` bytes of each frame are shown. The values of keys such as `authorization`, `token`
/// and `api_key` are masked.
pub fn log_frames(max_shown: usize) {
    MAX_SHOWN.store(max_shown.max(1), Relaxed);
}

/// The log of one connection.
#[derive(Debug)]
pub(crate) struct FrameLog {
    received: Tap,
    sent: Tap,
    max_shown: usize,
}

/// The direction of a frame or a message.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Direction {
    Received,
    Sent,
}

impl FrameLog {
    /// Returns the log of a new connection, or `None` if frames are not logged.
    pub(crate) fn start() -> Option<Box<Self>> {
        max_shown().map(|max_shown| {
            Box::new(Self {
                received: Tap::default(),
                sent: Tap::default(),
                max_shown,
            })
        })
    }

    /// Logs the frames that are complete with these received bytes.
    pub(crate) fn received(&mut self, peer: &Peer, bytes: &[u8]) {
        let max = self.max_shown;
        self.received.pass(bytes, max, |len, payload| {
            log(Direction::Received, peer, len, payload, max);
        });
    }

    /// Logs the frames that are complete with these sent bytes.
    pub(crate) fn sent(&mut self, peer: &Peer, bytes: &[u8]) {
        let max = self.max_shown;
        self.sent.pass(bytes, max, |len, payload| {
            log(Direction::Sent, peer, len, payload, max);
        });
    }
}

/// Logs a message of HTTP, whose payload is that of a frame.
#[cfg(feature = "http")]
pub(crate) fn log_message(direction: Direction, peer: &dyn Display, payload: &[u8]) {
    if let Some(max) = max_shown() {
        let start = &payload[..payload.len().min(max.max(MIN_KEPT))];
        log(direction, peer, payload.len(), start, max);
    }
}

/// Logs a message of `len` bytes that is neither JSON nor MessagePack. `json` returns it as JSON.
#[cfg(feature = "grpc")]
pub(crate) fn log_as_json(
    direction: Direction,
    peer: &dyn Display,
    format: &'static str,
    len: usize,
    json: impl FnOnce() -> String,
) {
    if let Some(max) = max_shown() {
        write(direction, peer, len, format, &cut(&json(), max, false));
    }
}

/// Returns the number of bytes to show of each message, or `None` if messages are not logged.
fn max_shown() -> Option<usize> {
    // Relaxed: the program sets the value once, before it opens connections.
    let max_shown = MAX_SHOWN.load(Relaxed);
    let is_enabled = max_shown > 0 && tracing::enabled!(target: FRAMES, Level::TRACE);
    is_enabled.then_some(max_shown)
}

/// Logs a payload of `len` bytes, of which the start is known.
fn log(direction: Direction, peer: &dyn Display, len: usize, payload: &[u8], max_shown: usize) {
    let format = Format::detect(payload);
    let shown = shown(format, len, payload, max_shown);
    let format = if format == Format::Json {
        "json"
    } else {
        "msgpack"
    };
    write(direction, peer, len, format, &shown);
}

fn write(direction: Direction, peer: &dyn Display, len: usize, format: &str, shown: &str) {
    match direction {
        Direction::Received => {
            tracing::trace!(target: FRAMES, parent: None, %peer, len, format, payload = shown, "received");
        }
        Direction::Sent => {
            tracing::trace!(target: FRAMES, parent: None, %peer, len, format, payload = shown, "sent");
        }
    }
}

/// Returns a payload of `len` bytes, of which the start is known, as JSON with masked secrets.
fn shown(format: Format, len: usize, payload: &[u8], max: usize) -> String {
    let text = if format == Format::Json {
        String::from_utf8_lossy(payload).into_owned()
    } else if payload.len() < len {
        return "(too large to show MessagePack)".to_owned();
    } else {
        match format.decode_value(payload) {
            Ok(value) => value.to_string(),
            Err(fault) => return format!("(invalid MessagePack: {fault})"),
        }
    };
    cut(&text, max, payload.len() < len)
}

/// Masks the secrets in a JSON text, and cuts it. `is_start` says that the text is only the start.
fn cut(text: &str, max: usize, is_start: bool) -> String {
    let mut text = masked(text);
    let is_cut = text.len() > max || is_start;
    let mut ends = (0..=max.min(text.len())).rev();
    let end = ends.find(|end| text.is_char_boundary(*end));
    text.truncate(end.unwrap_or_default());
    if is_cut {
        text.push('…');
    }
    text
}

/// Splits a stream of bytes into frames.
#[derive(Debug, Default)]
struct Tap {
    header: [u8; HEADER_LEN],
    /// The number of known bytes of the header.
    header_len: usize,
    /// The number of bytes of the payload that have not passed.
    left: usize,
    /// The start of the payload.
    start: Vec<u8>,
}

impl Tap {
    /// Calls `complete` with the length and the start of each payload that is complete.
    fn pass(&mut self, mut bytes: &[u8], max: usize, mut complete: impl FnMut(usize, &[u8])) {
        while !bytes.is_empty() {
            if self.header_len < HEADER_LEN {
                let (part, rest) = bytes.split_at(bytes.len().min(HEADER_LEN - self.header_len));
                self.header[self.header_len..][..part.len()].copy_from_slice(part);
                self.header_len += part.len();
                bytes = rest;
                if self.header_len < HEADER_LEN {
                    return;
                }
                self.left = u32::from_be_bytes(self.header) as usize;
            }
            let (part, rest) = bytes.split_at(bytes.len().min(self.left));
            let space = max.max(MIN_KEPT).saturating_sub(self.start.len());
            self.start.extend_from_slice(&part[..part.len().min(space)]);
            self.left -= part.len();
            bytes = rest;
            if self.left == 0 {
                complete(u32::from_be_bytes(self.header) as usize, &self.start);
                self.header_len = 0;
                self.start = Vec::new();
            }
        }
    }
}

/// Masks the values of secret keys in a JSON text. The text may be cut at any position.
fn masked(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut masked = String::with_capacity(text.len());
    // The end of the text that has been copied or masked.
    let mut done = 0;
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] != b'"' {
            at += 1;
            continue;
        }
        let end = end_of_string(bytes, at);
        let colon = skip_space(bytes, end);
        let is_secret = bytes.get(colon) == Some(&b':') && is_secret(&text[at..end]);
        at = end;
        if is_secret {
            let value = skip_space(bytes, colon + 1);
            masked.push_str(&text[done..value]);
            at = end_of_value(bytes, value);
            if value < bytes.len() {
                masked.push_str(MASK);
            }
            done = at;
        }
    }
    masked.push_str(&text[done..]);
    masked
}

/// Returns whether the value of a key, which is a JSON string, must not be shown.
fn is_secret(key: &str) -> bool {
    let decoded;
    let key = if key.contains('\\') {
        decoded = json::from_slice(key.as_bytes()).unwrap_or_default();
        decoded.as_str().unwrap_or_default()
    } else {
        key.trim_matches('"')
    };
    let key = key.to_ascii_lowercase().replace('-', "_");
    SECRETS.iter().any(|secret| key.ends_with(secret))
}

/// Returns the position after the string that begins at `at`.
fn end_of_string(bytes: &[u8], at: usize) -> usize {
    let mut end = at + 1;
    while let Some(byte) = bytes.get(end) {
        end += match byte {
            b'"' => return end + 1,
            b'\\' => 2,
            _ => 1,
        };
    }
    bytes.len()
}

/// Returns the position after the value that begins at `at`.
fn end_of_value(bytes: &[u8], mut at: usize) -> usize {
    let mut depth = 0_usize;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at = end_of_string(bytes, at);
                if depth == 0 {
                    return at;
                }
                continue;
            }
            b'[' | b'{' => depth += 1,
            b']' | b'}' if depth == 0 => return at,
            b']' | b'}' if depth == 1 => return at + 1,
            b']' | b'}' => depth -= 1,
            b',' if depth == 0 => return at,
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while bytes.get(at).is_some_and(u8::is_ascii_whitespace) {
        at += 1;
    }
    at
}

/// The maximum number of bytes to show of each frame, or 0 if frames are not logged.
static MAX_SHOWN: AtomicUsize = AtomicUsize::new(0);

/// The target of the events about frames.
const FRAMES: &str = "agentwire::frames";

/// The number of bytes of a payload that are kept, so that most payloads in MessagePack can be
/// decoded.
const MIN_KEPT: usize = 64 * 1024;

/// The ends of keys whose values are masked. Upper and lower case and `-` and `_` are equal.
const SECRETS: [&str; 7] = [
    "authorization",
    "owner",
    "token",
    "api_key",
    "apikey",
    "password",
    "secret",
];

const MASK: &str = r#""***""#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_even_if_the_text_is_cut() {
        for (text, expected) in [
            (r#"{"token": "abc", "a": 1}"#, r#"{"token": "***", "a": 1}"#),
            (r#"{"api_key":123,"b":2}"#, r#"{"api_key":"***","b":2}"#),
            (r#"{"X-Api-Key": null}"#, r#"{"X-Api-Key": "***"}"#),
            (
                r#"{"Authorization" : {"k": ["}", "\"]"]}, "c": 3}"#,
                r#"{"Authorization" : "***", "c": 3}"#,
            ),
            (r#"{"tok\u0065n": "abc"}"#, r#"{"tok\u0065n": "***"}"#),
            (r#"{"token": "ab"#, r#"{"token": "***""#),
            (r#"{"token": {"a": ["#, r#"{"token": "***""#),
            (r#"{"token""#, r#"{"token""#),
            (r#"{"token":"#, r#"{"token":"#),
            (r#"{"max_tokens": 7}"#, r#"{"max_tokens": 7}"#),
            (r#"["token", "x"]"#, r#"["token", "x"]"#),
            ("\"\\", "\"\\"),
            ("", ""),
        ] {
            assert_eq!(masked(text), expected, "{text}");
        }
    }

    #[test]
    fn every_cut_of_a_frame_hides_the_secret() {
        let text = r#"{"a": "é", "metadata": {"token": "hunter2hunter2", "b": [1, 2]}, "z": 0}"#;
        for end in 0..=text.len() {
            let cut = String::from_utf8_lossy(&text.as_bytes()[..end]);
            assert!(!masked(&cut).contains("hunter"), "{cut}");
        }
    }

    #[test]
    fn frames_are_found_however_the_bytes_arrive() {
        let stream = [&[0, 0, 0, 2][..], b"ab", &[0, 0, 0, 0], &[0, 0, 0, 1], b"c"].concat();
        for size in 1..=stream.len() {
            let mut tap = Tap::default();
            let mut frames = Vec::new();
            for part in stream.chunks(size) {
                tap.pass(part, 10, |len, payload| {
                    frames.push((len, payload.to_vec()))
                });
            }
            let expected = [(2, b"ab".to_vec()), (0, Vec::new()), (1, b"c".to_vec())];
            assert_eq!(frames, expected, "{size}");
        }
    }

    #[test]
    fn long_payloads_are_cut_at_a_character() {
        let shown = |text: &str, max| shown(Format::Json, text.len(), text.as_bytes(), max);
        assert_eq!(shown("[\"éé\"]", 3), "[\"…");
        assert_eq!(shown("[\"éé\"]", 4), "[\"é…");
        assert_eq!(shown("[1]", 3), "[1]");
        let key = r#"{"token": "abcdefgh"}"#;
        assert_eq!(shown(key, 15), r#"{"token": "***"…"#);
    }
}
