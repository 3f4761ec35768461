//! Finds the bytes in text that need escaping or unescaping, at the speed of memory.

/// Returns the length of the prefix that can be written between quotes without escapes (PROTOCOL
/// 4.3).
#[inline]
pub(super) fn writable_len(bytes: &[u8]) -> usize {
    plain_prefix_len::<Writable>(bytes)
}

/// Returns the length of the prefix in which every byte between quotes stands for itself.
#[inline]
pub(super) fn literal_len(bytes: &[u8]) -> usize {
    plain_prefix_len::<Literal>(bytes)
}

/// A class of bytes that need no special treatment.
trait PlainBytes {
    fn is_plain(byte: u8) -> bool;

    /// Sets the top bit of the first byte in a little-endian word that is not plain. The bits
    /// before it are clear; the bits after it have no meaning.
    fn first_special(word: u64) -> u64;
}

struct Writable;

impl PlainBytes for Writable {
    fn is_plain(byte: u8) -> bool {
        matches!(byte, 0x20..=0x7e) & (byte != b'"') & (byte != b'\\')
    }

    fn first_special(word: u64) -> u64 {
        Literal::first_special(word) | bytes_equal(word, 0x7f) | (word & broadcast(0x80))
    }
}

struct Literal;

impl PlainBytes for Literal {
    fn is_plain(byte: u8) -> bool {
        (byte >= 0x20) & (byte != b'"') & (byte != b'\\')
    }

    fn first_special(word: u64) -> u64 {
        bytes_below(word, 0x20) | bytes_equal(word, b'"') | bytes_equal(word, b'\\')
    }
}

const fn broadcast(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; WORD])
}

/// A borrow propagates only toward the later bytes, so the first marked byte is always correct.
fn bytes_below(word: u64, bound: u8) -> u64 {
    word.wrapping_sub(broadcast(bound)) & !word & broadcast(0x80)
}

fn bytes_equal(word: u64, byte: u8) -> u64 {
    bytes_below(word ^ broadcast(byte), 1)
}

#[inline(always)]
fn plain_prefix_len<P: PlainBytes>(bytes: &[u8]) -> usize {
    match bytes.len() {
        ..WORD => short_prefix_len::<P>(bytes),
        WORD..=TWO_WORDS => two_word_prefix_len::<P>(bytes),
        _ => many_word_prefix_len::<P>(bytes),
    }
}

/// Returns the index of the first byte that is not plain, or the length of a word.
fn first_special_index<P: PlainBytes>(word: [u8; WORD]) -> usize {
    P::first_special(u64::from_le_bytes(word)).trailing_zeros() as usize / WORD
}

#[inline(always)]
fn short_prefix_len<P: PlainBytes>(bytes: &[u8]) -> usize {
    // Two overlapping half words, side by side in one word.
    if let (Some(front), Some(back)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        let [a, b, c, d] = *front;
        let [e, f, g, h] = *back;
        return match first_special_index::<P>([a, b, c, d, e, f, g, h]) {
            position @ 0..4 => position,
            position => bytes.len() + position - WORD,
        };
    }
    bytes.iter().take_while(|&&byte| P::is_plain(byte)).count()
}

/// Two overlapping words: if the second has a match, it lies after the first word.
#[inline(always)]
fn two_word_prefix_len<P: PlainBytes>(bytes: &[u8]) -> usize {
    let (Some(front), Some(back)) = (bytes.first_chunk(), bytes.last_chunk()) else {
        return 0;
    };
    match first_special_index::<P>(*front) {
        WORD => bytes.len() - WORD + first_special_index::<P>(*back),
        position => position,
    }
}

#[inline(always)]
fn many_word_prefix_len<P: PlainBytes>(bytes: &[u8]) -> usize {
    let mut len = 0;
    while let Some(word) = bytes[len..].first_chunk() {
        match first_special_index::<P>(*word) {
            WORD => len += WORD,
            position => return len + position,
        }
        if len == LONG_LEN {
            len += long_prefix_len::<P>(&bytes[LONG_LEN..]);
        }
    }
    match bytes.last_chunk() {
        // The last word overlaps the previous one, which had no match.
        Some(word) if len < bytes.len() => bytes.len() - WORD + first_special_index::<P>(*word),
        _ => len,
    }
}

/// Scans whole chunks only.
#[inline(always)]
fn long_prefix_len<P: PlainBytes>(bytes: &[u8]) -> usize {
    let mut len = 0;
    for chunk in bytes.chunks_exact(CHUNK) {
        // No early exit inside a chunk, because it would prevent vectorization.
        if !chunk
            .iter()
            .fold(true, |all, &byte| all & P::is_plain(byte))
        {
            break;
        }
        len += CHUNK;
    }
    len
}

/// Bytes scanned together once text is known to be long. The compiler vectorizes a chunk of this
/// size completely; with chunks of 32 bytes, scanning takes three times as long per byte.
const CHUNK: usize = 64;

/// Bytes scanned together at first, in one register.
const WORD: usize = size_of::<u64>();

const TWO_WORDS: usize = 2 * WORD;

/// The length from which text is scanned in chunks.
const LONG_LEN: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_special_byte_is_found_at_every_position() {
        for byte in 0..=u8::MAX {
            for position in 0..LONG_LEN + CHUNK + WORD + 1 {
                let mut text = vec![b'a'; LONG_LEN + CHUNK + WORD + 3];
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

    #[test]
    fn the_first_of_several_special_bytes_is_found() {
        for len in 0..2 * WORD {
            for first in 0..len {
                for byte in [0, 0x1f, b'"', b'\\', 0x7f, 0x80, 0xff] {
                    let mut text = vec![b'\0'; len];
                    text[..first].fill(b'!');
                    text[first] = byte;
                    assert_eq!(writable_len(&text), first, "{text:?}");
                }
            }
        }
    }
}
