//! Bounds the memory that the values of a payload take, before they are decoded.

use crate::memory::MemoryBound;

/// Scans a payload up to a token that begins at `end` or later, or whose header has not arrived.
/// The content of a text may arrive later.
pub(crate) fn scan_memory(bound: &mut MemoryBound, arrived: &[u8], end: usize) {
    let counts = &mut bound.counts;
    while bound.offset < end {
        let Some([first, rest @ ..]) = arrived.get(bound.offset..) else {
            return;
        };
        // How many bytes of the token are its header, and what the header says.
        let (header, part) = match *first {
            0x80..=0x8f => (1, Part::Map(usize::from(first & 0x0f))),
            0x90..=0x9f => (1, Part::List(usize::from(first & 0x0f))),
            0xa0..=0xbf => (1, Part::Text(usize::from(first & 0x1f))),
            0xca | 0xce | 0xd2 => (5, Part::Scalar),
            0xcb | 0xcf | 0xd3 => (9, Part::Scalar),
            0xcc | 0xd0 => (2, Part::Scalar),
            0xcd | 0xd1 => (3, Part::Scalar),
            byte @ (0xc4..=0xc6 | 0xd9..=0xdf) => {
                let width = match byte {
                    0xc4 | 0xd9 => 1,
                    0xc5 | 0xda | 0xdc | 0xde => 2,
                    _ => 4,
                };
                let Some(announced) = rest.get(..width) else {
                    return;
                };
                let len = announced
                    .iter()
                    .fold(0, |len, &byte| len << 8 | usize::from(byte));
                let part = match byte {
                    0xdc | 0xdd => Part::List(len),
                    0xde | 0xdf => Part::Map(len),
                    _ => Part::Text(len),
                };
                (1 + width, part)
            }
            // Numbers of one byte, null and flags. The decoder refuses the types that are left.
            _ => (1, Part::Scalar),
        };
        counts.children += 1;
        bound.offset += header;
        match part {
            Part::Scalar => {}
            Part::Text(len) => {
                counts.texts += 1;
                bound.offset = bound.offset.saturating_add(len);
            }
            Part::List(len) => counts.lists += usize::from(len > 0),
            Part::Map(len) => {
                counts.maps += usize::from(len > 0);
                counts.entries = counts.entries.saturating_add(len);
            }
        }
    }
}

/// What the header of a token says.
enum Part {
    Scalar,
    /// Text or bytes of this length.
    Text(usize),
    /// A list of this many elements.
    List(usize),
    /// A map of this many entries.
    Map(usize),
}
