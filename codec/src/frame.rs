//! Frames, which consist of a length and a payload.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

use crate::{ForeignProtocol, FrameError};

/// The maximum size of a payload in bytes, for each direction of a connection.
///
/// Both limits default to [`DEFAULT_FRAME_LIMIT`]. The header has 32 bits, so a limit above
/// `u32::MAX` is reduced to `u32::MAX`.
///
/// ```
/// # mod agentwire { pub use agentwire_codec::*; }
/// use agentwire::FrameLimits;
///
/// // Accepts pictures, and sends short answers.
/// let limits = FrameLimits::default().receive(64 * 1024 * 1024);
/// assert_eq!(limits.max_send(), 10 * 1024 * 1024);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameLimits {
    send: usize,
    receive: usize,
}

impl FrameLimits {
    /// Sets the limit for sent payloads. A larger payload is rejected before any byte is written.
    #[must_use]
    pub fn send(mut self, bytes: usize) -> Self {
        self.send = bytes.min(u32::MAX as usize);
        self
    }

    /// Sets the limit for received payloads. A header that announces a larger payload is a framing
    /// error, which ends the connection.
    #[must_use]
    pub fn receive(mut self, bytes: usize) -> Self {
        self.receive = bytes.min(u32::MAX as usize);
        self
    }

    /// Returns the limit for sent payloads.
    #[must_use]
    pub fn max_send(&self) -> usize {
        self.send
    }

    /// Returns the limit for received payloads.
    #[must_use]
    pub fn max_receive(&self) -> usize {
        self.receive
    }
}

impl Default for FrameLimits {
    fn default() -> Self {
        Self {
            send: DEFAULT_FRAME_LIMIT,
            receive: DEFAULT_FRAME_LIMIT,
        }
    }
}

/// A codec that splits a byte stream into payloads and prepends the length to each sent payload.
///
/// Use it with `tokio_util::codec::Framed`. The header stays in the buffer until its payload is
/// complete. Therefore, a stream that ends after a bare header fails with [`FrameError::Truncated`]
/// instead of ending normally. The buffer grows as bytes arrive, so a header alone cannot make the
/// decoder allocate the announced length.
#[derive(Debug, Clone, Copy, Default)]
pub struct FrameCodec {
    limits: FrameLimits,
}

impl FrameCodec {
    /// Creates a codec with these limits.
    #[must_use]
    pub fn new(limits: FrameLimits) -> Self {
        Self { limits }
    }
}

impl Decoder for FrameCodec {
    type Item = Bytes;
    type Error = FrameError;

    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Bytes>, FrameError> {
        let Some(len) = peek_frame(buffer, self.limits.receive)? else {
            reserve_for_frame(buffer);
            return Ok(None);
        };
        buffer.advance(HEADER_LEN);
        Ok(Some(buffer.split_to(len).freeze()))
    }

    fn decode_eof(&mut self, buffer: &mut BytesMut) -> Result<Option<Bytes>, FrameError> {
        match self.decode(buffer)? {
            Some(payload) => Ok(Some(payload)),
            None => check_eof(buffer).map(|()| None),
        }
    }
}

impl Encoder<&[u8]> for FrameCodec {
    type Error = FrameError;

    fn encode(&mut self, payload: &[u8], buffer: &mut BytesMut) -> Result<(), FrameError> {
        let header = header(payload.len(), self.limits.send)?;
        buffer.reserve(HEADER_LEN + payload.len());
        buffer.put_slice(&header);
        buffer.put_slice(payload);
        Ok(())
    }
}

/// Returns the length of the payload at the front of `buffer`, or `None` until the whole frame has
/// arrived.
///
/// The payload is `buffer[HEADER_LEN..HEADER_LEN + len]`. No bytes are consumed, so the caller can
/// decode the payload in place and then advance the buffer.
///
/// # Errors
///
/// [`FrameError::TooLarge`] as soon as the header has arrived, if it announces more than `limit`;
/// [`FrameError::ForeignProtocol`] if such a header begins another protocol.
pub fn peek_frame(buffer: &[u8], limit: usize) -> Result<Option<usize>, FrameError> {
    let Some(header) = buffer.first_chunk::<HEADER_LEN>() else {
        return Ok(None);
    };
    let len = u32::from_be_bytes(*header) as usize;
    if len > limit {
        return Err(refused(*header, limit));
    }
    Ok((buffer.len() - HEADER_LEN >= len).then_some(len))
}

/// Reserves space in `buffer` for more bytes of the incomplete frame at its front.
///
/// The amount equals the number of bytes that have arrived, but it is at least 16 KiB and at most
/// the rest of the frame. Therefore, a bare header reserves little memory, and a large frame is
/// copied only a bounded number of times. `BytesMut` may round its capacity up to twice the
/// previous capacity.
pub fn reserve_for_frame(buffer: &mut BytesMut) {
    let missing = frame_len(buffer).saturating_sub(buffer.len());
    buffer.reserve(missing.min(READ_AHEAD.max(buffer.len())));
}

/// Checks that a stream did not end inside a frame. `buffer` contains the unread bytes of the
/// stream.
///
/// # Errors
///
/// Returns [`FrameError::Truncated`] if `buffer` is not empty.
pub fn check_eof(buffer: &[u8]) -> Result<(), FrameError> {
    if buffer.is_empty() {
        return Ok(());
    }
    Err(FrameError::Truncated {
        have: buffer.len(),
        want: frame_len(buffer),
    })
}

/// Appends one frame to `buffer`.
///
/// The closure `write` appends the payload and must not make any other change to the buffer. The
/// length of the payload is filled in afterwards.
///
/// If an error is returned, `buffer` is unchanged.
///
/// # Errors
///
/// Returns the error of `write`, or [`FrameError::TooLarge`] if the payload exceeds `limit`.
pub fn put_frame<E: From<FrameError>>(
    buffer: &mut Vec<u8>,
    limit: usize,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    let start = buffer.len();
    buffer.reserve(USUAL_LEN);
    buffer.extend_from_slice(&[0; HEADER_LEN]);
    let result = write(buffer).and_then(|()| {
        let header = header(buffer.len() - start - HEADER_LEN, limit)?;
        buffer[start..start + HEADER_LEN].copy_from_slice(&header);
        Ok(())
    });
    if result.is_err() {
        buffer.truncate(start);
    }
    result
}

fn header(len: usize, limit: usize) -> Result<[u8; HEADER_LEN], FrameError> {
    match u32::try_from(len) {
        Ok(header) if len <= limit => Ok(header.to_be_bytes()),
        _ => Err(FrameError::TooLarge { len, max: limit }),
    }
}

/// Returns the error of a header that announces more than `limit`.
#[cold]
fn refused(header: [u8; HEADER_LEN], limit: usize) -> FrameError {
    let (len, max) = (u32::from_be_bytes(header) as usize, limit);
    match ForeignProtocol::detect(header) {
        Some(protocol) => FrameError::ForeignProtocol { protocol, len, max },
        None => FrameError::TooLarge { len, max },
    }
}

/// Returns the length that the header at the front of `buffer` announces, or `None` until the
/// header has arrived.
fn payload_len(buffer: &[u8]) -> Option<usize> {
    let header = buffer.first_chunk::<HEADER_LEN>()?;
    Some(u32::from_be_bytes(*header) as usize)
}

/// Returns the length of the frame at the front of `buffer`. Until the header has arrived, this is
/// the length of the header.
fn frame_len(buffer: &[u8]) -> usize {
    HEADER_LEN.saturating_add(payload_len(buffer).unwrap_or(0))
}

/// The length of a frame header in bytes. The header is the big-endian length of the payload
/// ([PROTOCOL 1]).
///
/// [PROTOCOL 1]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#1-frames
pub const HEADER_LEN: usize = 4;

/// The default limit for payloads in each direction: 10 MiB ([PROTOCOL 1.3]).
///
/// [PROTOCOL 1.3]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#1-frames
pub const DEFAULT_FRAME_LIMIT: usize = 10 * 1024 * 1024;

/// The number of bytes to reserve ahead until more bytes than this have arrived.
///
/// A header can announce megabytes that never arrive, so the buffer grows only as bytes arrive.
const READ_AHEAD: usize = 16 * 1024;

/// A capacity that fits most envelopes, so that encoding one does not reallocate a new buffer
/// repeatedly.
const USUAL_LEN: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_the_length_and_the_payload() {
        let mut buffer = BytesMut::new();
        FrameCodec::default().encode(b"hello", &mut buffer).unwrap();
        assert_eq!(&buffer[..], b"\0\0\0\x05hello");
    }

    #[test]
    fn a_payload_of_exactly_the_limit_passes_and_one_more_byte_does_not() {
        let mut codec = FrameCodec::new(FrameLimits::default().send(5).receive(5));
        let mut buffer = BytesMut::new();
        codec.encode(b"12345", &mut buffer).unwrap();
        assert_eq!(
            codec.decode(&mut buffer).unwrap().as_deref(),
            Some(&b"12345"[..])
        );

        buffer.put_slice(b"kept");
        let error = codec.encode(b"123456", &mut buffer).unwrap_err();
        assert!(
            matches!(error, FrameError::TooLarge { len: 6, max: 5 }),
            "{error}"
        );
        assert_eq!(&buffer[..], b"kept", "a refused frame leaves no bytes");

        let mut oversize = BytesMut::from(&b"\0\0\0\x06"[..]);
        let error = codec.decode(&mut oversize).unwrap_err();
        assert!(
            matches!(error, FrameError::TooLarge { len: 6, max: 5 }),
            "{error}"
        );
    }

    #[test]
    fn a_header_alone_reserves_little() {
        let mut codec = FrameCodec::default();
        let mut buffer = BytesMut::from(&(DEFAULT_FRAME_LIMIT as u32).to_be_bytes()[..]);
        assert!(codec.decode(&mut buffer).unwrap().is_none());
        assert!(buffer.capacity() <= 2 * READ_AHEAD, "{}", buffer.capacity());
    }

    #[test]
    fn a_stream_that_ends_inside_a_frame_reports_how_much_is_missing() {
        for (bytes, want) in [(&b"\0\0"[..], 4), (b"\0\0\0\x05", 9), (b"\0\0\0\x05abc", 9)] {
            let mut buffer = BytesMut::from(bytes);
            let error = FrameCodec::default().decode_eof(&mut buffer).unwrap_err();
            assert!(
                matches!(error, FrameError::Truncated { have, want: w } if have == bytes.len() && w == want),
                "{error}"
            );
        }
        assert!(
            FrameCodec::default()
                .decode_eof(&mut BytesMut::new())
                .unwrap()
                .is_none()
        );
    }
}
