//! The header `grpc-timeout`.

use std::time::Duration;

/// Reads a timeout, such as `100m` for 100 ms. Returns `None` for any other text.
pub(crate) fn read_timeout(text: &[u8]) -> Option<Duration> {
    let (unit, digits) = text.split_last()?;
    let is_valid = matches!(digits.len(), 1..=8) && digits.iter().all(u8::is_ascii_digit);
    if !is_valid {
        return None;
    }
    let count: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(count * 3600),
        b'M' => Duration::from_secs(count * 60),
        b'S' => Duration::from_secs(count),
        b'm' => Duration::from_millis(count),
        b'u' => Duration::from_micros(count),
        b'n' => Duration::from_nanos(count),
        _ => return None,
    })
}

/// Writes a timeout in the finest unit in which it has at most eight digits.
pub(crate) fn write_timeout(timeout: Duration) -> String {
    let units = [
        ('u', timeout.as_micros()),
        ('m', timeout.as_millis()),
        ('S', timeout.as_secs().into()),
        ('M', (timeout.as_secs() / 60).into()),
    ];
    let fitting = units.into_iter().find(|(_, count)| *count < 100_000_000);
    let (unit, count) = fitting.unwrap_or(('H', (timeout.as_secs() / 3600).min(99_999_999).into()));
    format!("{count}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_in_all_units() {
        for (text, timeout) in [
            ("1H", Duration::from_secs(3600)),
            ("2M", Duration::from_secs(120)),
            ("3S", Duration::from_secs(3)),
            ("100m", Duration::from_millis(100)),
            ("99999999u", Duration::from_micros(99_999_999)),
            ("0n", Duration::ZERO),
        ] {
            assert_eq!(read_timeout(text.as_bytes()), Some(timeout), "{text}");
        }
        for text in ["", "m", "1", "1x", "-1S", "100000000S", "1.5S", " 1S"] {
            assert_eq!(read_timeout(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_written_timeout_is_read_as_at_most_the_same() {
        for timeout in [
            Duration::ZERO,
            Duration::from_micros(1500),
            Duration::from_secs(30),
            Duration::from_secs(86_400),
            Duration::from_secs(86_400 * 365),
            Duration::MAX,
        ] {
            let text = write_timeout(timeout);
            let read = read_timeout(text.as_bytes()).unwrap();
            assert!(read <= timeout, "{text}");
        }
        assert_eq!(write_timeout(Duration::from_millis(1500)), "1500000u");
    }
}
