//! The compression of messages. Only received messages are compressed.

use std::io::Read;

use bytes::Bytes;
use flate2::read::GzDecoder;

use super::{Code, Status};

/// The compression of the messages of one peer, which the header `grpc-encoding` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Identity,
    Gzip,
}

impl Encoding {
    /// Returns the compression with this name, or `None` if this side does not know it.
    pub(crate) fn from_name(name: &[u8]) -> Option<Self> {
        match name {
            b"identity" => Some(Self::Identity),
            b"gzip" => Some(Self::Gzip),
            _ => None,
        }
    }

    /// Returns the length of a message after decompression, as the message announces it.
    pub(crate) fn announced_len(self, message: &[u8]) -> usize {
        match (self, message.last_chunk::<4>()) {
            (Self::Gzip, Some(len)) => u32::from_le_bytes(*len) as usize,
            _ => message.len(),
        }
    }

    /// Decompresses a message. The result has exactly the announced length, so a small message
    /// cannot become an unexpectedly large one.
    pub(crate) fn decompress(self, message: Bytes) -> Result<Bytes, Status> {
        if self == Self::Identity {
            return Ok(message);
        }
        let announced = self.announced_len(&message);
        let corrupt = || Status::new(Code::Internal, "the compressed message is corrupt");
        // The capacity is limited by what the bytes that have arrived can become.
        let capacity = announced.min(max_ratio(message.len()));
        let mut decompressed = Vec::with_capacity(capacity);
        let read = GzDecoder::new(&*message)
            .take(announced as u64 + 1)
            .read_to_end(&mut decompressed);
        match read {
            Ok(len) if len == announced => Ok(decompressed.into()),
            _ => Err(corrupt()),
        }
    }
}

/// Returns the most bytes that a compressed message of this length can become. Deflate writes at
/// least a bit for 129 bytes.
fn max_ratio(len: usize) -> usize {
    len.saturating_mul(1032)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn gzip(message: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(message).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_compressed_message_is_decompressed() {
        for message in [vec![], b"hello".to_vec(), vec![7; 3_000_000]] {
            let compressed = Bytes::from(gzip(&message));
            assert_eq!(Encoding::Gzip.announced_len(&compressed), message.len());
            assert!(message.len() <= max_ratio(compressed.len()));
            assert_eq!(Encoding::Gzip.decompress(compressed).unwrap(), message);
        }
    }

    #[test]
    fn a_length_that_lies_is_refused() {
        let mut compressed = gzip(&vec![0; 1_000_000]);
        let end = compressed.len() - 4;
        for len in [0, 999_999, 1_000_001, u32::MAX] {
            compressed[end..].copy_from_slice(&len.to_le_bytes());
            let refused = Encoding::Gzip.decompress(compressed.clone().into());
            assert_eq!(refused.unwrap_err().code, Code::Internal, "{len}");
        }
    }

    #[test]
    fn garbage_is_refused() {
        for garbage in [&b""[..], b"\x1f\x8b", b"not gzip at all", &[0; 100]] {
            assert!(
                Encoding::Gzip
                    .decompress(Bytes::copy_from_slice(garbage))
                    .is_err()
            );
        }
    }
}
