//! Finding the bytes inside text that need attention, at the speed of memory.

/// How many bytes are looked at together. The compiler turns a chunk into a few vector instructions.
const CHUNK: usize = 32;

/// How many bytes at the front can be written between quotes as they are (PROTOCOL 4.3).
pub(super) fn writable_len(bytes: &[u8]) -> usize {
    prefix_len(bytes, |byte| {
        matches!(byte, 0x20..=0x7e) & (byte != b'"') & (byte != b'\\')
    })
}

/// How many bytes at the front stand for themselves between quotes.
pub(super) fn literal_len(bytes: &[u8]) -> usize {
    prefix_len(bytes, |byte| {
        (byte >= 0x20) & (byte != b'"') & (byte != b'\\')
    })
}

#[inline(always)]
fn prefix_len(bytes: &[u8], plain: impl Fn(u8) -> bool) -> usize {
    let mut len = 0;
    for chunk in bytes.chunks_exact(CHUNK) {
        // No early exit inside a chunk, or it could not be vectorised.
        if !chunk.iter().fold(true, |all, &byte| all & plain(byte)) {
            break;
        }
        len += CHUNK;
    }
    len + bytes[len..].iter().take_while(|&&byte| plain(byte)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_found_at_every_position() {
        for byte in 0..=u8::MAX {
            for position in 0..CHUNK * 2 + 3 {
                let mut text = vec![b'a'; CHUNK * 2 + 5];
                text[position] = byte;
                let writable = (0x20..0x7f).contains(&byte) && !b"\"\\".contains(&byte);
                assert_eq!(
                    writable_len(&text),
                    if writable { text.len() } else { position }
                );
                let literal = byte >= 0x20 && !b"\"\\".contains(&byte);
                assert_eq!(
                    literal_len(&text),
                    if literal { text.len() } else { position }
                );
            }
        }
        assert_eq!(writable_len(b""), 0);
    }
}
