use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

use crate::FrameError;

/// Bytes in front of every payload: its length, big-endian (PROTOCOL 1).
pub const HEADER_LEN: usize = 4;

/// The default limit of a payload in each direction: 10 MiB (PROTOCOL 1.3).
pub const DEFAULT_FRAME_LIMIT: usize = 10 * 1024 * 1024;

/// The most that a decoder reserves ahead of the bytes that have arrived.
///
/// A header may announce megabytes that never come, so room grows with what is there.
const READ_AHEAD: usize = 16 * 1024;

/// How large the payload of a frame may be, in bytes, separately for each direction.
///
/// Both default to [`DEFAULT_FRAME_LIMIT`]. Neither can exceed `u32::MAX`, which is all that the header
/// can say; a larger number means that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameLimits {
    send: usize,
    receive: usize,
}

impl FrameLimits {
    /// The largest payload that is sent. A larger one is refused before any byte is written.
    #[must_use]
    pub fn send(mut self, bytes: usize) -> Self {
        self.send = bytes.min(u32::MAX as usize);
        self
    }

    /// The largest payload that is accepted. A header that announces more ends the connection.
    #[must_use]
    pub fn receive(mut self, bytes: usize) -> Self {
        self.receive = bytes.min(u32::MAX as usize);
        self
    }

    /// The limit for payloads that are sent.
    #[must_use]
    pub fn max_send(&self) -> usize {
        self.send
    }

    /// The limit for payloads that are received.
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

/// Splits a byte stream into payloads and puts a length before those that go out.
///
/// For use with `tokio_util::codec::Framed`. Header and payload leave the buffer together, so that a
/// stream which ends after a bare header is reported as [`FrameError::Truncated`] rather than as a
/// clean end. Memory follows the bytes that arrive, never the length that a header announces.
#[derive(Debug, Clone, Copy, Default)]
pub struct FrameCodec {
    limits: FrameLimits,
}

impl FrameCodec {
    /// A codec with these limits.
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

/// The length of the payload at the front of `buffer`, once all of it is there.
///
/// The payload is then `buffer[HEADER_LEN..HEADER_LEN + len]`. Nothing is consumed, so that a reader can
/// decode in place and advance afterwards.
///
/// # Errors
///
/// [`FrameError::TooLarge`] as soon as the header is there and announces more than `limit`.
pub fn peek_frame(buffer: &[u8], limit: usize) -> Result<Option<usize>, FrameError> {
    let Some(len) = payload_len(buffer) else {
        return Ok(None);
    };
    if len > limit {
        return Err(FrameError::TooLarge { len, max: limit });
    }
    Ok((buffer.len() - HEADER_LEN >= len).then_some(len))
}

/// Makes room in `buffer` for more of the frame at its front, in steps.
///
/// The room that is asked for doubles with what has arrived and never exceeds what the frame still
/// needs, so that a header alone reserves little and a large frame is copied a bounded number of times.
/// The buffer itself may round it up to twice its size.
pub fn reserve_for_frame(buffer: &mut BytesMut) {
    let missing = frame_len(buffer).saturating_sub(buffer.len());
    buffer.reserve(missing.min(READ_AHEAD.max(buffer.len())));
}

/// Checks that a stream may end here: that `buffer`, what is left of it, holds no part of a frame.
///
/// # Errors
///
/// [`FrameError::Truncated`] if `buffer` is not empty.
pub fn check_eof(buffer: &[u8]) -> Result<(), FrameError> {
    if buffer.is_empty() {
        return Ok(());
    }
    Err(FrameError::Truncated {
        have: buffer.len(),
        want: frame_len(buffer),
    })
}

/// Room for most envelopes, so that a new buffer need not grow step by step.
const USUAL_LEN: usize = 512;

/// Appends one frame: `write` appends the payload, and does nothing else to the buffer; the length is
/// filled in afterwards.
///
/// On failure `buffer` is as it was before.
///
/// # Errors
///
/// What `write` fails with, or [`FrameError::TooLarge`] if the payload exceeds `limit`.
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

/// Returns the length of the payload at the front of `buffer`, once its header has arrived.
fn payload_len(buffer: &[u8]) -> Option<usize> {
    let header = buffer.first_chunk::<HEADER_LEN>()?;
    Some(u32::from_be_bytes(*header) as usize)
}

/// Returns the length of the whole frame at the front of `buffer`, as far as it is known.
fn frame_len(buffer: &[u8]) -> usize {
    HEADER_LEN.saturating_add(payload_len(buffer).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_its_length_and_its_payload() {
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
    fn the_end_of_the_stream_inside_a_frame_is_an_error_that_counts() {
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
