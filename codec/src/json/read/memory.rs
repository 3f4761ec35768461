//! Bounds the memory that the values of a payload take, before they are decoded.

use crate::{json::scan, memory::MemoryBound};

/// Scans a payload up to `end` or one token further. `arrived` may end inside a token.
///
/// Only texts are told apart from the rest. A container that is not empty has one child more than
/// it has commas, and each entry of a map has one colon.
pub(crate) fn scan_memory(bound: &mut MemoryBound, arrived: &[u8], end: usize) {
    let counts = &mut bound.counts;
    while bound.offset < end {
        let rest = &arrived[bound.offset..end];
        if bound.in_text {
            bound.offset += scan::literal_len(rest);
            if bound.offset == end {
                return;
            }
            match arrived[bound.offset..] {
                // The escaped character may be a quote, and may not have arrived.
                [b'\\'] => return,
                [b'\\', ..] => bound.offset += 2,
                [b'"', ..] => {
                    bound.in_text = false;
                    bound.offset += 1;
                }
                // A control character, which the decoder refuses.
                _ => bound.offset += 1,
            }
            continue;
        }
        let (mut commas, mut colons) = (0, 0);
        let special = rest.iter().position(|&byte| {
            commas += usize::from(byte == b',');
            colons += usize::from(byte == b':');
            matches!(byte, b'"' | b'[' | b'{')
        });
        counts.children += commas;
        counts.entries += colons;
        bound.offset += special.unwrap_or(rest.len());
        let Some(special) = special.map(|position| rest[position]) else {
            return;
        };
        if special == b'"' {
            counts.texts += 1;
            bound.in_text = true;
            bound.offset += 1;
            continue;
        }
        let is_empty = match arrived.get(bound.offset + 1) {
            Some(next) => matches!(next, b']' | b'}'),
            None => return,
        };
        if !is_empty {
            counts.children += 1;
            if special == b'[' {
                counts.lists += 1;
            } else {
                counts.maps += 1;
            }
        }
        bound.offset += 1;
    }
}
