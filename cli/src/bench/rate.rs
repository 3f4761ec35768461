//! The option `--rate`: how often calls start.

use std::{fmt, time::Duration};

/// A number of calls in a period.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rate {
    per_second: f64,
}

impl Rate {
    pub(super) fn per_second(self) -> f64 {
        self.per_second
    }

    /// Returns the time from the start of the run to the start of a call. The first call has number
    /// 0.
    pub(super) fn start_of(self, number: u64) -> Duration {
        let seconds = number as f64 / self.per_second;
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }

    /// Returns the number of calls that should start within this time.
    pub(super) fn calls_in(self, time: Duration) -> u64 {
        (time.as_secs_f64() * self.per_second).ceil() as u64
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", self.per_second)
    }
}

/// Parses a number with the unit `/s` or `/m`. Without a unit, the number is per second.
pub(super) fn parse_rate(text: &str) -> Result<Rate, String> {
    let (number, seconds) = match text.split_once('/') {
        None | Some((_, "s")) => (text.trim_end_matches("/s"), 1.0),
        Some((number, "m")) => (number, 60.0),
        Some(_) => ("", 1.0),
    };
    let is_plain = number
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number = number.parse::<f64>().ok().filter(|_| is_plain);
    let rate = number.map(|number| number / seconds);
    match rate {
        Some(per_second) if per_second > 0.0 && per_second <= MAX_RATE => Ok(Rate { per_second }),
        _ => Err(format!(
            "invalid rate {text:?}; use a number of calls, as in 500/s or 60/m"
        )),
    }
}

/// No machine makes more calls per second.
const MAX_RATE: f64 = 1e9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_per_second_or_per_minute() {
        for (text, per_second) in [("500/s", 500.0), ("30/m", 0.5), ("2.5/s", 2.5), ("7", 7.0)] {
            assert_eq!(parse_rate(text), Ok(Rate { per_second }), "{text}");
        }
        for text in [
            "", "0", "-1/s", "1/h", "/s", "NaN", "inf", "1e99/s", "5/s/s", "1/",
        ] {
            assert!(parse_rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn calls_start_at_equal_distances() {
        let rate = Rate { per_second: 4.0 };
        assert_eq!(rate.start_of(0), Duration::ZERO);
        assert_eq!(rate.start_of(3), Duration::from_millis(750));
        assert_eq!(rate.calls_in(Duration::from_secs(1)), 4);
        assert_eq!(rate.calls_in(Duration::from_millis(900)), 4);
        assert_eq!(rate.calls_in(Duration::from_millis(700)), 3);
    }
}
