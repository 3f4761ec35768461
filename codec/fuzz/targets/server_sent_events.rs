//! Checks that the reader of server-sent events finds the same events as a simple reader of the
//! whole stream, however the bytes are split, and that it keeps no more than its limit.
#![no_main]

#[path = "../../../adapter/src/client/channel/http/sse.rs"]
mod sse;

use libfuzzer_sys::fuzz_target;

use self::sse::EventReader;

/// Reads the stream in pieces of one size.
fn read(bytes: &[u8], piece: usize, max: usize) -> Option<Vec<Vec<u8>>> {
    let mut reader = EventReader::new(max);
    for piece in bytes.chunks(piece) {
        reader.read(piece).ok()?;
    }
    Some(std::iter::from_fn(|| reader.next()).collect())
}

/// Reads the whole stream in the steps of the specification.
fn reference(bytes: &[u8]) -> Vec<Vec<u8>> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut lines = vec![Vec::new()];
    let mut rest = bytes.iter().peekable();
    while let Some(&byte) = rest.next() {
        match byte {
            b'\r' => {
                rest.next_if_eq(&&b'\n');
                lines.push(Vec::new());
            }
            b'\n' => lines.push(Vec::new()),
            byte => lines.last_mut().expect("a line").push(byte),
        }
    }
    // The last line has not ended.
    lines.pop();
    let (mut events, mut data) = (Vec::new(), Vec::new());
    for line in lines {
        if line.is_empty() {
            if data.pop().is_some() {
                events.push(std::mem::take(&mut data));
            }
            continue;
        }
        let colon = line.iter().position(|&byte| byte == b':');
        let (name, value) = match colon {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (&line[..], &[][..]),
        };
        if name == b"data" {
            data.extend_from_slice(value.strip_prefix(b" ").unwrap_or(value));
            data.push(b'\n');
        }
    }
    events
}

fuzz_target!(|bytes: &[u8]| {
    let events = reference(bytes);
    for piece in [1, 2, 3, 7, bytes.len().max(1)] {
        let found = read(bytes, piece, usize::MAX / 2);
        assert_eq!(found.as_ref(), Some(&events), "in pieces of {piece}");
        if let Some(small) = read(bytes, piece, LIMIT) {
            assert_eq!(small, events);
            assert!(small.iter().all(|event| event.len() <= LIMIT + FIELD));
        }
    }
});

const LIMIT: usize = 64;

/// The space that the reader allows for the names of fields.
const FIELD: usize = 1024;
