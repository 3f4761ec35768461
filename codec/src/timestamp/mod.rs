//! Timestamps in the form of Python's `datetime`.

mod calendar;
mod read;
mod write;

use std::{
    fmt,
    str::FromStr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use agentwire_text::excerpt;

use self::{
    calendar::{Date, MICROS_PER_DAY, MICROS_PER_SECOND},
    write::TimestampText,
};

/// A date and time like Python's `datetime`, with microsecond precision and an optional offset from
/// UTC.
///
/// Timestamps are parsed and formatted according to [PROTOCOL 5] and keep their offset. Two
/// timestamps are equal if their text is equal. The same instant with a different offset is a
/// different timestamp.
///
/// [PROTOCOL 5]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#5-timestamps
///
/// ```
/// # mod agentwire { pub use agentwire_codec::*; }
/// use agentwire::Timestamp;
///
/// let time: Timestamp = "2025-11-08T12:34:56.7Z".parse()?;
/// assert_eq!(time.to_string(), "2025-11-08T12:34:56.700000+00:00");
/// # Ok::<(), agentwire::TimestampError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Timestamp {
    /// The local date and time, in microseconds since 1970-01-01T00:00:00.
    local: i64,
    /// The offset from UTC in microseconds, positive to the east, or `None` if the timestamp has no
    /// offset.
    offset: Option<i64>,
}

/// The error for text that is not a valid timestamp ([PROTOCOL 5]).
///
/// [PROTOCOL 5]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#5-timestamps
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an ISO 8601 timestamp: {}", shortened(text))]
pub struct TimestampError {
    text: String,
}

impl Timestamp {
    /// Returns the current time in UTC.
    #[must_use]
    pub fn now() -> Self {
        Self::from_system_time(SystemTime::now())
    }

    /// Converts a system time to a timestamp in UTC, rounded down to microseconds.
    ///
    /// A time outside the years 1 to 9999 becomes the first or last valid timestamp.
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

    /// Returns the timestamp as a system time, or `None` if the timestamp has no offset.
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

    /// Returns the offset from UTC in seconds, positive to the east, or `None` if the timestamp has
    /// no offset.
    #[must_use]
    pub fn offset_seconds(self) -> Option<i64> {
        self.offset.map(|micros| micros / MICROS_PER_SECOND)
    }

    /// Parses only text in the form that [`TimestampText`] writes. This method is the fast path. A
    /// parsed timestamp is always written back as the same text.
    ///
    /// Offsets with seconds do not occur in practice and are left to the slow path.
    pub(crate) fn from_canonical(text: &str) -> Option<Self> {
        read::canonical(text.as_bytes())
    }

    pub(crate) fn to_text(self) -> TimestampText {
        TimestampText::new(self)
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, TimestampError> {
        Self::from_canonical(text)
            .or_else(|| read::lenient(text))
            .ok_or_else(|| TimestampError {
                text: excerpt(text).into_owned(),
            })
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.to_text().as_str())
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
    fn text_written_by_python_round_trips() {
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
    fn the_fast_path_accepts_only_canonical_text() {
        let canonical = "2025-11-08T12:34:56.789012+05:30";
        for text in [
            canonical,
            "2025-11-08T12:34:56-23:59",
            "2025-11-08T12:34:56",
        ] {
            assert!(Timestamp::from_canonical(text).is_some(), "{text}");
        }
        for position in 0..canonical.len() {
            for byte in [b' '..=b'~'].into_iter().flatten() {
                let mut text = canonical.as_bytes().to_vec();
                text[position] = byte;
                let text = String::from_utf8(text).unwrap();
                if let Some(time) = Timestamp::from_canonical(&text) {
                    assert_eq!(time.to_string(), text);
                    assert_eq!(read::lenient(&text), Some(time));
                }
            }
        }
        for text in [
            "2025-11-08T12:34:56.000000+00:00",
            "2025-11-08T12:34:56.78901+00:00",
            "2025-11-08T12:34:56-00:00",
            "2025-11-08T12:34:56+00:00 ",
        ] {
            assert_eq!(Timestamp::from_canonical(text), None, "{text}");
        }
    }

    #[test]
    fn text_from_other_writers_is_parsed_as_python_parses_it() {
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
    fn text_that_is_not_a_timestamp_is_refused() {
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
    fn a_time_beyond_the_calendar_is_clamped() {
        let far = UNIX_EPOCH + Duration::from_secs(400_000 * 366 * 86_400);
        assert_eq!(
            Timestamp::from_system_time(far).to_string(),
            "9999-12-31T23:59:59.999999+00:00"
        );
    }

    #[test]
    fn a_time_without_an_offset_has_no_system_time() {
        assert_eq!(
            "2025-11-08".parse::<Timestamp>().unwrap().to_system_time(),
            None
        );
    }
}
