//! Fast scans for the bytes in text that need escaping or unescaping.

/// Returns the length of the longest prefix that can be written between quotes without escapes
/// (PROTOCOL 4.3).
#[inline]
pub(super) fn writable_len(bytes: &[u8]) -> usize {
    plain_prefix_len::<Writable>(bytes)
}

/// Returns the length of the longest prefix that can be copied unchanged from between quotes.
#[inline]
pub(super) fn literal_len(bytes: &[u8]) -> usize {
    plain_prefix_len::<Literal>(bytes)
}

/// A class of bytes that need neither escaping nor unescaping, called plain bytes.
trait PlainBytes {
    fn is_plain(byte: u8) -> bool;

    /// Returns a word in which the lowest set bit is the top bit of the first byte of `word` that
    /// is not plain. The word is little-endian. The higher bits of the result have no meaning.
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

/// Sets the top bit of each byte below `bound`. The borrow of the subtraction can mark later bytes
/// wrongly, but the first marked byte is always correct.
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

/// Returns the index of the first byte that is not plain, or [`WORD`] if all bytes are plain.
fn first_special_index<P: PlainBytes>(word: [u8; WORD]) -> usize {
    P::first_special(u64::from_le_bytes(word)).trailing_zeros() as usize / WORD
}

#[inline(always)]
fn short_prefix_len<P: PlainBytes>(bytes: &[u8]) -> usize {
    // Combine the first four and the last four bytes, which may overlap, into one word.
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

/// Scans two words that may overlap. The second word is scanned only if the first word has no
/// match, so the first match in the second word lies after the first word.
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
        // The last word overlaps the previous word, which has only plain bytes.
        Some(word) if len < bytes.len() => bytes.len() - WORD + first_special_index::<P>(*word),
        _ => len,
    }
}

/// Returns the length of the leading chunks that have only plain bytes. Incomplete chunks are not
/// scanned.
#[inline(always)]
fn long_prefix_len<P: PlainBytes>(bytes: &[u8]) -> usize {
    let mut len = 0;
    for chunk in bytes.chunks_exact(CHUNK) {
        // An early exit inside a chunk would prevent vectorization.
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

/// The number of bytes per iteration in long text. The compiler fully vectorizes a chunk of this
/// size. With chunks of 32 bytes, scanning takes three times as long per byte.
const CHUNK: usize = 64;

/// The number of bytes per iteration in short text. A word fits into one register.
const WORD: usize = size_of::<u64>();

const TWO_WORDS: usize = 2 * WORD;

/// The length after which text is scanned in chunks instead of words.
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
