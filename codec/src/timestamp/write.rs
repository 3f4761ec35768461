//! Formats timestamps.

use super::{
    Timestamp,
    calendar::{Date, MICROS_PER_DAY, MICROS_PER_SECOND},
};

/// The text of a timestamp as Python's `isoformat` writes it (PROTOCOL 5.1).
pub(crate) struct TimestampText {
    bytes: [u8; MAX_LEN],
    len: usize,
}

impl TimestampText {
    pub(super) fn new(time: Timestamp) -> Self {
        let mut text = Self {
            bytes: [0; MAX_LEN],
            len: 0,
        };
        let date = Date::from_days(time.local.div_euclid(MICROS_PER_DAY));
        let (century, year) = (digit_pair(date.year / 100), digit_pair(date.year % 100));
        let (month, day) = (digit_pair(date.month.into()), digit_pair(date.day.into()));
        text.push([
            century[0], century[1], year[0], year[1], b'-', month[0], month[1], b'-', day[0],
            day[1], b'T',
        ]);
        text.clock(time.local.rem_euclid(MICROS_PER_DAY).unsigned_abs(), true);
        if let Some(offset) = time.offset {
            text.push([if offset < 0 { b'-' } else { b'+' }]);
            text.clock(offset.unsigned_abs(), false);
        }
        text
    }

    /// Returns the text, which consists of ASCII digits, `-`, `:`, `.`, `+` and `T`.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// Writes a time such as `12:34:56.789012`. The seconds are omitted from an offset if they are
    /// zero.
    fn clock(&mut self, micros: u64, always_seconds: bool) {
        let per_second = MICROS_PER_SECOND.unsigned_abs();
        // A time of day and an offset are less than 24 hours, so both numbers fit into 32 bits.
        let (seconds, fraction) = ((micros / per_second) as u32, (micros % per_second) as u32);
        let two_digits = |number: u32| digit_pair(number as u16);
        let (hours, minutes) = (two_digits(seconds / 3600), two_digits(seconds / 60 % 60));
        self.push([hours[0], hours[1], b':', minutes[0], minutes[1]]);
        if always_seconds || seconds % 60 != 0 || fraction != 0 {
            let seconds = two_digits(seconds % 60);
            self.push([b':', seconds[0], seconds[1]]);
        }
        if fraction != 0 {
            let (a, b, c) = (
                two_digits(fraction / 10_000),
                two_digits(fraction / 100 % 100),
                two_digits(fraction % 100),
            );
            self.push([b'.', a[0], a[1], b[0], b[1], c[0], c[1]]);
        }
    }

    fn push<const N: usize>(&mut self, bytes: [u8; N]) {
        self.bytes[self.len..self.len + N].copy_from_slice(&bytes);
        self.len += N;
    }
}

fn digit_pair(number: u16) -> [u8; 2] {
    DIGIT_PAIRS[usize::from(number)]
}

const MAX_LEN: usize = "2025-11-08T12:34:56.789012+05:30:15.000001".len();

const DIGIT_PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut number = 0;
    while number < 100 {
        pairs[number] = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
        number += 1;
    }
    pairs
};
