use std::{
    fmt,
    str::FromStr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::calendar::{Date, MICROS_PER_DAY, MICROS_PER_SECOND};

/// A date and time as Python's `datetime` holds it: microseconds, and an offset from UTC or none.
///
/// It is read and written as [PROTOCOL 5] says, and keeps the offset that it came with. Equality is that of
/// what is written: the same instant at another offset is another timestamp.
///
/// [PROTOCOL 5]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#5-timestamps
///
/// ```
/// use agentwire_codec::Timestamp;
///
/// let time: Timestamp = "2025-11-08T12:34:56.7Z".parse()?;
/// assert_eq!(time.to_string(), "2025-11-08T12:34:56.700000+00:00");
/// # Ok::<(), agentwire_codec::TimestampError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Timestamp {
    /// What a clock on the wall shows, in microseconds since 1970-01-01T00:00:00.
    local: i64,
    /// Microseconds east of UTC, or `None` for a time that does not say.
    offset: Option<i64>,
}

/// Text that is not a timestamp (PROTOCOL 5).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an ISO 8601 timestamp: {}", shortened(text))]
pub struct TimestampError {
    text: String,
}

impl Timestamp {
    /// The present, in UTC.
    #[must_use]
    pub fn now() -> Self {
        Self::from_system_time(SystemTime::now())
    }

    /// A point in time, in UTC and rounded down to microseconds.
    ///
    /// Times outside of the years 1 to 9999 become the first or last that can be written.
    #[must_use]
    pub fn from_system_time(time: SystemTime) -> Self {
        let micros = match time.duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_micros()).unwrap_or(i64::MAX),
            Err(before) => {
                i64::try_from(before.duration().as_nanos().div_ceil(1000)).map_or(i64::MIN, |m| -m)
            }
        };
        let last = Date::MAX.days() * MICROS_PER_DAY + (MICROS_PER_DAY - 1);
        Self {
            local: micros.clamp(Date::MIN.days() * MICROS_PER_DAY, last),
            offset: Some(0),
        }
    }

    /// The point in time, or `None` for a timestamp without an offset.
    #[must_use]
    pub fn to_system_time(self) -> Option<SystemTime> {
        let micros = self.local - self.offset?;
        let distance = Duration::from_micros(micros.unsigned_abs());
        if micros < 0 {
            UNIX_EPOCH.checked_sub(distance)
        } else {
            UNIX_EPOCH.checked_add(distance)
        }
    }

    /// The offset from UTC in seconds, east positive, or `None` where there is none.
    #[must_use]
    pub fn offset_seconds(self) -> Option<i64> {
        self.offset.map(|micros| micros / MICROS_PER_SECOND)
    }

    /// Hands the written form to `f` without allocating.
    pub(crate) fn with_str<T>(self, f: impl FnOnce(&str) -> T) -> T {
        let mut text = Text {
            bytes: [0; MAX_TEXT_LEN],
            len: 0,
        };
        text.timestamp(self);
        // Only ASCII digits and punctuation are ever pushed.
        f(std::str::from_utf8(&text.bytes[..text.len]).unwrap_or_default())
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, TimestampError> {
        parse(text).ok_or_else(|| TimestampError {
            text: text.to_owned(),
        })
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with_str(|text| f.write_str(text))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        Self::from_system_time(time)
    }
}

/// `2025-11-08T12:34:56.789012+05:30:15.000001`
const MAX_TEXT_LEN: usize = 42;

struct Text {
    bytes: [u8; MAX_TEXT_LEN],
    len: usize,
}

impl Text {
    fn timestamp(&mut self, time: Timestamp) {
        let date = Date::from_days(time.local.div_euclid(MICROS_PER_DAY));
        self.number(u64::from(date.year), 4);
        self.byte(b'-');
        self.number(u64::from(date.month), 2);
        self.byte(b'-');
        self.number(u64::from(date.day), 2);
        self.byte(b'T');
        self.clock(time.local.rem_euclid(MICROS_PER_DAY).unsigned_abs(), true);
        if let Some(offset) = time.offset {
            self.byte(if offset < 0 { b'-' } else { b'+' });
            self.clock(offset.unsigned_abs(), false);
        }
    }

    /// `12:34:56.789012`; seconds are left out of an offset that has none.
    fn clock(&mut self, micros: u64, always_seconds: bool) {
        let per_second = MICROS_PER_SECOND.unsigned_abs();
        let (seconds, fraction) = (micros / per_second, micros % per_second);
        self.number(seconds / 3600, 2);
        self.byte(b':');
        self.number(seconds / 60 % 60, 2);
        if always_seconds || seconds % 60 != 0 || fraction != 0 {
            self.byte(b':');
            self.number(seconds % 60, 2);
        }
        if fraction != 0 {
            self.byte(b'.');
            self.number(fraction, 6);
        }
    }

    fn number(&mut self, mut number: u64, digits: usize) {
        for position in (self.len..self.len + digits).rev() {
            self.bytes[position] = b'0' + (number % 10) as u8;
            number /= 10;
        }
        self.len += digits;
    }

    fn byte(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }
}

fn parse(text: &str) -> Option<Timestamp> {
    let (date, rest) = text.split_at_checked(date_len(text.as_bytes()))?;
    let date = parse_date(date.as_bytes())?;
    let mut local = date.days() * MICROS_PER_DAY;
    let mut rest = rest.chars();
    if rest.next().is_none() {
        return Some(Timestamp {
            local,
            offset: None,
        });
    }
    let rest = rest.as_str();
    let split = rest.find(['+', '-', 'Z', 'z']).unwrap_or(rest.len());
    let (clock, zone) = rest.split_at(split);
    local += parse_clock(clock.as_bytes())?;
    Some(Timestamp {
        local,
        offset: parse_zone(zone.as_bytes())?,
    })
}

/// Where the date ends. The separator may be any character, so only the date's own form can tell.
fn date_len(text: &[u8]) -> usize {
    let digits_from = |start: usize| {
        text[start..]
            .iter()
            .take_while(|b| b.is_ascii_digit())
            .count()
    };
    match (text.get(4), text.get(5)) {
        (Some(b'-'), Some(b'W')) => match text.get(8) {
            // `2025-W45-6T…` against `2025-W45-06:00`: the day of a week has one digit.
            Some(b'-') if text.get(10).is_some_and(u8::is_ascii_digit) => 8,
            Some(b'-') => 10,
            _ => 8,
        },
        (Some(b'-'), _) => 10,
        (Some(b'W'), _) if text.len() > 7 => match digits_from(7) {
            0 => 7,
            1 => 8,
            // `2025W4512…`: the digits after the week belong to the clock, in pairs.
            digits if digits % 2 == 1 => 7,
            _ => 8,
        },
        (Some(b'W'), _) => 7,
        _ => 8,
    }
}

fn parse_date(text: &[u8]) -> Option<Date> {
    let year = u16::try_from(number(text.get(..4)?)?).ok()?;
    match text.get(4..)? {
        [b'-', b'W', w1, w2] | [b'W', w1, w2] => Date::from_week(year, number(&[*w1, *w2])?, 1),
        [b'-', b'W', w1, w2, b'-', d] | [b'W', w1, w2, d] => {
            Date::from_week(year, number(&[*w1, *w2])?, number(&[*d])?)
        }
        [b'-', m1, m2, b'-', d1, d2] | [m1, m2, d1, d2] => {
            Date::new(year, number(&[*m1, *m2])?, number(&[*d1, *d2])?)
        }
        _ => None,
    }
}

fn parse_zone(text: &[u8]) -> Option<Option<i64>> {
    match text {
        [] => Some(None),
        [b'Z' | b'z'] => Some(Some(0)),
        [b'+', clock @ ..] => parse_clock(clock).map(Some),
        [b'-', clock @ ..] => parse_clock(clock).map(|micros| Some(-micros)),
        _ => None,
    }
}

/// `12`, `12:34`, `12:34:56`, `12:34:56.789`, the same without colons: microseconds since midnight.
fn parse_clock(text: &[u8]) -> Option<i64> {
    let colons = text.get(2) == Some(&b':');
    let mut fields = [0; 3];
    let mut rest = text;
    for (index, field) in fields.iter_mut().enumerate() {
        if index > 0 {
            match rest {
                [] => break,
                [b':', after @ ..] if colons => rest = after,
                [b'0'..=b'9', ..] if !colons => {}
                [b'.' | b',', ..] if index == 2 => return None,
                _ => return None,
            }
        }
        let (digits, after) = rest.split_at_checked(2)?;
        *field = number(digits)?;
        rest = after;
    }
    let [hours, minutes, seconds] = fields;
    if hours > 23 || minutes > 59 || seconds > 59 {
        return None;
    }
    let fraction = match rest {
        [] => 0,
        [b'.' | b',', digits @ ..] if !digits.is_empty() => fraction_micros(digits)?,
        _ => return None,
    };
    Some(i64::from(hours * 3600 + minutes * 60 + seconds) * MICROS_PER_SECOND + fraction)
}

/// Digits beyond the sixth are cut off, not rounded, as Python does.
fn fraction_micros(digits: &[u8]) -> Option<i64> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let six = digits
        .iter()
        .copied()
        .chain(std::iter::repeat(b'0'))
        .take(6);
    Some(six.fold(0, |micros, digit| micros * 10 + i64::from(digit - b'0')))
}

fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |number, digit| {
        digit
            .is_ascii_digit()
            .then(|| number * 10 + u32::from(digit - b'0'))
    })
}

fn shortened(text: &str) -> String {
    const SHOWN: usize = 64;
    if text.chars().count() <= SHOWN {
        format!("{text:?}")
    } else {
        format!("{:?}…", text.chars().take(SHOWN).collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<String> {
        text.parse::<Timestamp>().ok().map(|time| time.to_string())
    }

    #[test]
    fn what_python_writes_comes_back_unchanged() {
        for text in [
            "2025-11-08T12:34:56.789012+00:00",
            "2025-11-08T12:34:56+00:00",
            "2025-11-08T12:34:56",
            "2025-11-08T12:34:56.000001+05:30",
            "2025-11-08T12:34:56+05:30:15",
            "2025-11-08T12:34:56+05:30:15.000001",
            "2025-11-08T12:34:56-23:59",
            "0001-01-01T00:00:00+23:59",
            "9999-12-31T23:59:59.999999-23:59",
            "2024-02-29T00:00:00",
        ] {
            assert_eq!(read(text).as_deref(), Some(text));
        }
    }

    #[test]
    fn what_others_write_is_read_as_python_reads_it() {
        for (text, expected) in [
            ("2025-11-08T12:34:56Z", "2025-11-08T12:34:56+00:00"),
            (
                "2025-11-08T12:34:56.123456789Z",
                "2025-11-08T12:34:56.123456+00:00",
            ),
            ("2025-11-08T12:34:56,7", "2025-11-08T12:34:56.700000"),
            ("2025-11-08 12:34", "2025-11-08T12:34:00"),
            ("2025-11-08\u{2013}12", "2025-11-08T12:00:00"),
            ("2025-11-08", "2025-11-08T00:00:00"),
            ("20251108T123456Z", "2025-11-08T12:34:56+00:00"),
            ("20251108T1234+0530", "2025-11-08T12:34:00+05:30"),
            ("20251108", "2025-11-08T00:00:00"),
            ("2025-W45-6", "2025-11-08T00:00:00"),
            ("2025W456T12", "2025-11-08T12:00:00"),
            ("2025-W45", "2025-11-03T00:00:00"),
            ("2025-11-08T12:34:56-00:00", "2025-11-08T12:34:56+00:00"),
        ] {
            assert_eq!(read(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "x",
            "2025",
            "2025-1-1",
            "2025-02-29",
            "2025-13-01",
            "2025-00-01",
            "2025-01-00",
            "0000-01-01",
            "2025-W54-1",
            "2025-11-08T",
            "2025-11-08T24:00:00",
            "2025-11-08T12:60",
            "2025-11-08T12:34:60",
            "2025-11-08T12:34:56.",
            "2025-11-08T12:34.5",
            "2025-11-08T12:3456",
            "2025-11-08T1234:56",
            "2025-11-08T12:34:56+24:00",
            "2025-11-08T12:34:56+",
            "2025-11-08T12:34:56ZZ",
            "2025-11-08T12:34:56+05:30x",
            "2025-11-08T12:34:56.12x",
            "２０２５-11-08",
            "\u{1f980}\u{1f980}\u{1f980}",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn system_time_round_trips_on_both_sides_of_1970() {
        for micros in [0, 1, 999_999, 1_762_605_296_789_012] {
            let after = UNIX_EPOCH + Duration::from_micros(micros);
            assert_eq!(
                Timestamp::from_system_time(after).to_system_time(),
                Some(after)
            );
            let before = UNIX_EPOCH - Duration::from_micros(micros);
            assert_eq!(
                Timestamp::from_system_time(before).to_system_time(),
                Some(before)
            );
        }
        let written = Timestamp::from_system_time(UNIX_EPOCH + Duration::from_secs(951_827_696));
        assert_eq!(written.to_string(), "2000-02-29T12:34:56+00:00");
    }

    #[test]
    fn a_time_beyond_the_calendar_becomes_its_end() {
        let far = UNIX_EPOCH + Duration::from_secs(400_000 * 366 * 86_400);
        assert_eq!(
            Timestamp::from_system_time(far).to_string(),
            "9999-12-31T23:59:59.999999+00:00"
        );
    }

    #[test]
    fn a_naive_time_names_no_instant() {
        assert_eq!(
            "2025-11-08".parse::<Timestamp>().unwrap().to_system_time(),
            None
        );
    }
}
