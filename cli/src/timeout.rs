//! The parser for the durations on the command line.

use std::time::Duration;

/// Parses a duration with units, such as `1m30s`.
pub(crate) fn parse_timeout(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| {
        format!("invalid duration {text:?}; use units, as in 500ms, 30s or 1m30s: {error}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_units() {
        assert_eq!(parse_timeout("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_timeout("500ms"), Ok(Duration::from_millis(500)));
        for text in ["", "30", "soon", "-1s", "99999999999999999999s"] {
            assert!(parse_timeout(text).is_err(), "{text}");
        }
    }
}
