//! The settings in the URL of a Redis server: [`Url`].

use std::time::Duration;

use crate::RegistryError;

/// A URL without the settings of this library, and these settings.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Url {
    /// The URL for the Redis client.
    pub(super) url: String,
    pub(super) namespace: Option<String>,
    pub(super) lease: Option<Duration>,
}

impl Url {
    /// Splits a URL such as `redis://host?namespace=blue:&lease=30s`.
    ///
    /// # Errors
    ///
    /// Returns [`RegistryError::InvalidSetting`] if the query has an unknown or repeated key, or a
    /// lease that is not a duration.
    pub(super) fn parse(text: &str) -> Result<Self, RegistryError> {
        let Some((base, query)) = text.split_once('?') else {
            return Ok(Self {
                url: text.to_owned(),
                namespace: None,
                lease: None,
            });
        };
        let invalid = |problem| RegistryError::InvalidSetting {
            setting: "url",
            problem,
        };
        let known: &[&str] = if base.starts_with("redis+unix:") {
            &["db", "user", "pass", "protocol"]
        } else {
            &["protocol"]
        };
        let (mut namespace, mut lease) = (None, None);
        let mut kept: Vec<&str> = Vec::new();
        let mut keys = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            if keys.contains(&key) {
                return Err(invalid("has a key twice in its query"));
            }
            keys.push(key);
            match key {
                "namespace" => {
                    let decoded = decode(value);
                    namespace = Some(decoded.ok_or(invalid("has an invalid namespace"))?);
                }
                "lease" => {
                    let parsed = parse_duration(value);
                    lease = Some(parsed.ok_or(invalid("needs a lease such as 500ms, 30s or 2m"))?);
                }
                _ if known.contains(&key) => kept.push(pair),
                _ => {
                    return Err(invalid(
                        "has an unknown key in its query; the keys are namespace, lease, protocol \
                         and, for a Unix socket, db, user and pass",
                    ));
                }
            }
        }
        let url = if kept.is_empty() {
            base.to_owned()
        } else {
            format!("{base}?{}", kept.join("&"))
        };
        Ok(Self {
            url,
            namespace,
            lease,
        })
    }
}

/// Decodes a value in which characters may be written as `%` and two hexadecimal digits.
fn decode(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        rest = after;
        if *byte != b'%' {
            decoded.push(*byte);
            continue;
        }
        let digits = rest
            .get(..2)
            .and_then(|digits| std::str::from_utf8(digits).ok())?;
        decoded.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &rest[2..];
    }
    String::from_utf8(decoded).ok()
}

/// Parses a whole number with the unit `ms`, `s`, `m` or `h`.
fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().ok()?;
    let millis = match &text[digits.len()..] {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.checked_mul(millis).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_removed_from_the_url() {
        let split = |text| {
            let Url {
                url,
                namespace,
                lease,
            } = Url::parse(text).unwrap();
            (
                url,
                namespace.unwrap_or_default(),
                lease.map(|it| it.as_millis()),
            )
        };
        for (text, url, namespace, lease) in [
            ("redis://host/2", "redis://host/2", "", None),
            ("redis://host?", "redis://host", "", None),
            ("redis://h?namespace=blue:", "redis://h", "blue:", None),
            (
                "redis://h?lease=2m&protocol=resp3",
                "redis://h?protocol=resp3",
                "",
                Some(120_000),
            ),
            (
                "redis+unix:///run/r?db=1&namespace=a%3Ab%C3%A9&pass=x",
                "redis+unix:///run/r?db=1&pass=x",
                "a:bé",
                None,
            ),
            ("redis://h?lease=1500ms", "redis://h", "", Some(1500)),
        ] {
            assert_eq!(
                split(text),
                (url.to_owned(), namespace.to_owned(), lease),
                "{text}"
            );
        }
    }

    #[test]
    fn unknown_keys_and_invalid_values_are_refused() {
        for query in [
            "namspace=a",
            "db=1",
            "lease",
            "lease=30",
            "lease=-1s",
            "lease=99999999999999999999h",
            "namespace=%4",
            "namespace=%zz",
            "namespace=%ff",
            "namespace=a&namespace=b",
        ] {
            let error = Url::parse(&format!("redis://host?{query}"));
            assert!(
                matches!(
                    error,
                    Err(RegistryError::InvalidSetting { setting: "url", .. })
                ),
                "{query}: {error:?}"
            );
        }
    }
}
