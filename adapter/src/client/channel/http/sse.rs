//! Server-sent events, as the WHATWG specifies them: [`EventReader`].

use std::collections::VecDeque;

/// Reads events from the bytes of a stream, however the bytes are split.
///
/// Only the data of events matters here. Fields of other names and comments are ignored.
#[derive(Debug)]
pub(super) struct EventReader {
    /// The line that has not ended.
    line: Vec<u8>,
    /// The data of the event that has not ended. Each line of data ends with a line feed.
    data: Vec<u8>,
    /// Whether the last byte was a carriage return, so that a line feed belongs to it.
    after_return: bool,
    /// Whether the first line has ended, which may begin with a byte order mark.
    has_started: bool,
    max_event: usize,
    events: VecDeque<Vec<u8>>,
}

/// An event that exceeds the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooLarge {
    pub(super) len: usize,
    pub(super) max: usize,
}

impl EventReader {
    /// Creates a reader of events of up to `max_event` bytes.
    pub(super) fn new(max_event: usize) -> Self {
        Self {
            line: Vec::new(),
            data: Vec::new(),
            after_return: false,
            has_started: false,
            max_event,
            events: VecDeque::new(),
        }
    }

    /// Takes the data of the next event that has arrived.
    pub(super) fn next(&mut self) -> Option<Vec<u8>> {
        self.events.pop_front()
    }

    /// Reads bytes. An event that has not ended at the end of the stream is no event.
    ///
    /// # Errors
    ///
    /// Returns an error if an event or a line exceeds the limit.
    pub(super) fn read(&mut self, mut bytes: &[u8]) -> Result<(), TooLarge> {
        if self.after_return {
            if let Some((&first, rest)) = bytes.split_first() {
                self.after_return = false;
                if first == b'\n' {
                    bytes = rest;
                }
            }
        }
        while let Some(end) = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            let (start, rest) = bytes.split_at(end);
            self.extend_line(start)?;
            self.end_line();
            bytes = &rest[1..];
            if rest[0] == b'\r' {
                match bytes.first() {
                    Some(b'\n') => bytes = &bytes[1..],
                    Some(_) => {}
                    None => self.after_return = true,
                }
            }
        }
        self.extend_line(bytes)
    }

    fn extend_line(&mut self, bytes: &[u8]) -> Result<(), TooLarge> {
        let len = self.line.len() + self.data.len() + bytes.len();
        // The name of the field is not part of the event.
        if len > self.max_event + MAX_FIELD {
            let max = self.max_event;
            return Err(TooLarge { len, max });
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn end_line(&mut self) {
        let mut line = &self.line[..];
        if !self.has_started {
            self.has_started = true;
            line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
        }
        if line.is_empty() {
            // Without data, a blank line ends nothing.
            if !self.data.is_empty() {
                self.data.pop();
                self.events.push_back(std::mem::take(&mut self.data));
            }
        } else {
            let colon = line.iter().position(|byte| *byte == b':');
            let (name, value) = line.split_at(colon.unwrap_or(line.len()));
            let value = value.strip_prefix(b":").unwrap_or(value);
            let value = value.strip_prefix(b" ").unwrap_or(value);
            if name == b"data" {
                self.data.extend_from_slice(value);
                self.data.push(b'\n');
            }
        }
        self.line.clear();
    }
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The space for the name of a field beside an event of the largest size.
const MAX_FIELD: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn read_at(bytes: &[u8], splits: &[usize]) -> Vec<String> {
        let mut reader = EventReader::new(1000);
        let mut start = 0;
        for &end in splits.iter().chain([&bytes.len()]) {
            reader.read(&bytes[start..end]).expect("small events");
            start = end;
        }
        std::iter::from_fn(|| reader.next())
            .map(|event| String::from_utf8(event).expect("UTF-8"))
            .collect()
    }

    const STREAMS: [(&str, &[&str]); 16] = [
        ("data: a\n\n", &["a"]),
        ("data:a\r\n\r\ndata: b\r\rdata:  c\n\n", &["a", "b", " c"]),
        ("data: a\ndata: b\n\n", &["a\nb"]),
        ("data: a\r\ndata\r\ndata: b\r\n\r\n", &["a\n\nb"]),
        (": comment\n\n: x\ndata: a\n:y\n\n", &["a"]),
        ("event: e\nid: 1\nretry: 5\ndata: a\nother: x\n\n", &["a"]),
        ("\u{feff}data: a\n\n", &["a"]),
        ("data: \u{feff}a\n\n\u{feff}data: no\n\n", &["\u{feff}a"]),
        ("data: a\n\ndata: no end\n", &["a"]),
        ("data: a\n\ndata: no end", &["a"]),
        ("data\n\n", &[""]),
        ("data:\n\n\n\n", &[""]),
        (" data: a\n\nDATA: b\n\ndata : c\n\n", &[]),
        (
            "data: h\u{e9}\u{2028}\u{85}\n\n",
            &["h\u{e9}\u{2028}\u{85}"],
        ),
        ("\n\r\n\r\r\ndata: a:b\n\n", &["a:b"]),
        ("", &[]),
    ];

    #[test]
    fn events_are_those_of_the_specification_at_every_split() {
        for (stream, events) in STREAMS {
            let bytes = stream.as_bytes();
            for first in 0..=bytes.len() {
                assert_eq!(read_at(bytes, &[first]), events, "{stream:?} at {first}");
                for second in first..=bytes.len() {
                    let split = read_at(bytes, &[first, second]);
                    assert_eq!(split, events, "{stream:?} at {first} and {second}");
                }
            }
            let each: Vec<_> = (0..bytes.len()).collect();
            assert_eq!(read_at(bytes, &each), events, "{stream:?} byte by byte");
        }
    }

    #[test]
    fn random_bytes_give_the_same_events_at_every_split() {
        let alphabet = b"data: \r\n\n\r:x\xef\xbb\xbf";
        for seed in 0..500 {
            let mut random = fastrand::Rng::with_seed(seed);
            let len = random.usize(..60);
            let bytes: Vec<u8> = (0..len)
                .map(|_| alphabet[random.usize(..alphabet.len())])
                .collect();
            let read = |splits: &[usize]| {
                let mut reader = EventReader::new(1000);
                let mut start = 0;
                for &end in splits.iter().chain([&bytes.len()]) {
                    reader.read(&bytes[start..end]).expect("small events");
                    start = end;
                }
                std::iter::from_fn(|| reader.next()).collect::<Vec<_>>()
            };
            let whole = read(&[]);
            for split in 0..=len {
                assert_eq!(
                    read(&[split]),
                    whole,
                    "{:?} at {split}",
                    bytes.escape_ascii()
                );
            }
        }
    }

    #[test]
    fn an_event_over_the_limit_is_refused_before_it_ends() {
        let mut reader = EventReader::new(10);
        let long = vec![b'x'; 2000];
        assert!(reader.read(&long).is_err());
        let mut reader = EventReader::new(10);
        let mut lines = 0;
        while reader.read(b"data: 12345678\n").is_ok() {
            lines += 1;
            assert!(lines < 200);
        }
    }
}
