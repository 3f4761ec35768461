//! Frames in the format of PROTOCOL.md, for peers that do not have their own framing.

use crate::BenchError;

/// Appends one frame to `buffer`.
pub(super) fn put(
    buffer: &mut Vec<u8>,
    payload: impl FnOnce(&mut Vec<u8>) -> Result<(), BenchError>,
) -> Result<(), BenchError> {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; HEADER]);
    payload(buffer)?;
    let len = u32::try_from(buffer.len() - start - HEADER)?;
    buffer[start..start + HEADER].copy_from_slice(&len.to_be_bytes());
    Ok(())
}

/// Returns the payload of the first frame and the length of the frame, or `None` if the frame is
/// incomplete.
pub(super) fn peek(buffer: &[u8]) -> Option<(&[u8], usize)> {
    let len = u32::from_be_bytes(*buffer.first_chunk::<HEADER>()?) as usize;
    let payload = buffer[HEADER..].get(..len)?;
    Some((payload, HEADER + len))
}

const HEADER: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_returned_once_it_is_complete() {
        let mut buffer = Vec::new();
        put(&mut buffer, |payload| {
            payload.extend_from_slice(b"echo");
            Ok(())
        })
        .unwrap();
        assert_eq!(buffer, b"\0\0\0\x04echo");
        assert_eq!(peek(&buffer), Some((&b"echo"[..], 8)));
        for len in 0..buffer.len() {
            assert_eq!(peek(&buffer[..len]), None);
        }
    }
}
