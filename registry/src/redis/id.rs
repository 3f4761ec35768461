//! The ids of entries, and ranges of ids.

use agentwire_transport::Endpoint;

use crate::{Registration, RegistryError, WatchScope};

/// Returns the id of an entry, which consists of the name, a line feed and the endpoint.
///
/// Names cannot contain control characters, so ids are unambiguous. In byte order, all ids with the
/// same name are contiguous.
pub(super) fn id(name: &str, endpoint: &Endpoint) -> String {
    format!("{name}\n{endpoint}")
}

pub(super) fn id_of(registration: &Registration) -> String {
    id(&registration.name, &registration.endpoint)
}

/// Returns the endpoint in an id.
pub(super) fn endpoint_of(id: &str) -> Option<Endpoint> {
    id.split_once('\n')?.1.parse().ok()
}

/// A range of ids. The bounds have the syntax of `ZRANGEBYLEX`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) first: Vec<u8>,
    pub(super) last: Vec<u8>,
}

impl Range {
    pub(super) fn all() -> Self {
        Self {
            first: b"-".into(),
            last: b"+".into(),
        }
    }

    /// Returns the range of all instances of a name.
    pub(super) fn name(name: &str) -> Self {
        // The range starts at the name followed by a line feed, and ends before the name followed
        // by the next byte.
        Self {
            first: format!("[{name}\n").into(),
            last: format!("({name}\u{b}").into(),
        }
    }

    /// Returns the range of all ids after the instances of a name.
    pub(super) fn after_name(name: &str) -> Self {
        Self {
            first: format!("[{name}\u{b}").into(),
            last: b"+".into(),
        }
    }

    /// Returns a range that ends after the instances of a name.
    pub(super) fn until_name(mut self, name: &str) -> Self {
        self.last = Self::name(name).last;
        self
    }

    /// Returns the range of all ids in the scope of a watch.
    ///
    /// # Errors
    ///
    /// Returns [`RegistryError::InvalidName`] if the name in the scope is invalid.
    pub(super) fn scope(scope: &WatchScope) -> Result<Self, RegistryError> {
        scope.check()?;
        Ok(match scope {
            WatchScope::All => Self::all(),
            WatchScope::Name(name) => Self::name(name),
        })
    }

    /// Returns a range that starts after an id.
    pub(super) fn after_id(mut self, id: &[u8]) -> Self {
        self.first = [b"(", id].concat();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares ids in byte order, as Redis does.
    fn contains(range: &Range, id: &str) -> bool {
        let (first, last) = (&range.first[1..], &range.last[1..]);
        assert_eq!((range.first[0], range.last[0]), (b'[', b'('));
        (first..last).contains(&id.as_bytes())
    }

    #[test]
    fn a_range_covers_exactly_the_instances_of_its_name() {
        let endpoints = ["tcp://host:80", "unix:///a\nb", "memory://ü"];
        for name in ["a", "weather", "weather report", "a:b", "*", "天気"] {
            let range = Range::name(name);
            for endpoint in endpoints {
                let endpoint = endpoint.parse().unwrap();
                assert!(contains(&range, &id(name, &endpoint)), "{name} {endpoint}");
                for other in ["", " ", ":", "\u{7f}", "é", "a"] {
                    let other = format!("{name}{other}x");
                    assert!(!contains(&range, &id(&other, &endpoint)), "{other}");
                }
            }
        }
    }

    #[test]
    fn an_endpoint_is_read_from_its_id() {
        for endpoint in ["tcp://[::1]:80", "unix:///tmp/a\nb c.sock"] {
            let endpoint: Endpoint = endpoint.parse().unwrap();
            assert_eq!(endpoint_of(&id("weather", &endpoint)), Some(endpoint));
        }
        for id in ["", "weather", "weather\n", "weather\nnowhere"] {
            assert_eq!(endpoint_of(id), None);
        }
    }
}
