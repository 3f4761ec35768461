//! The masking of payloads (RFC 6455, section 5.3).

/// Masks or unmasks `bytes`, which begin at `offset` of their payload.
pub(super) fn apply(mask: [u8; 4], offset: usize, bytes: &mut [u8]) {
    let mut mask = mask;
    mask.rotate_left(offset % 4);
    let [a, b, c, d] = mask;
    let word = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    // The compiler vectorizes the loop over whole words.
    let mut words = bytes.chunks_exact_mut(8);
    for chunk in words.by_ref() {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(chunk);
        chunk.copy_from_slice(&(u64::from_ne_bytes(bytes) ^ word).to_ne_bytes());
    }
    for (byte, mask) in words.into_remainder().iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masking_in_parts_is_masking_byte_by_byte() {
        let mask = [0x12, 0x34, 0x56, 0x78];
        let plain: Vec<u8> = (0..100).collect();
        let expected: Vec<u8> = (0..100).map(|i| plain[i] ^ mask[i % 4]).collect();
        for cut in 0..=plain.len() {
            let mut masked = plain.clone();
            let (first, second) = masked.split_at_mut(cut);
            apply(mask, 0, first);
            apply(mask, cut, second);
            assert_eq!(masked, expected);
        }
    }
}
