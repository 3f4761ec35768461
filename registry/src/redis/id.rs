use agentwire_transport::Endpoint;

use crate::{Registration, RegistryError, WatchScope};

/// What an entry is kept under: the name, a line feed, the endpoint.
///
/// Names have no control characters, so that there is one way to read it, and all instances of a name stand together
/// in the order of bytes.
pub(super) fn id(name: &str, endpoint: &Endpoint) -> String {
    format!("{name}\n{endpoint}")
}

pub(super) fn id_of(registration: &Registration) -> String {
    id(&registration.name, &registration.endpoint)
}

/// The endpoint of an id that was made here.
pub(super) fn endpoint_of(id: &str) -> Option<Endpoint> {
    id.split_once('\n')?.1.parse().ok()
}

/// Some of the ids, as `ZRANGEBYLEX` takes them.
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

    /// All instances of one name.
    pub(super) fn name(name: &str) -> Self {
        // The byte after the line feed ends what begins with one.
        Self {
            first: format!("[{name}\n").into(),
            last: format!("({name}\u{b}").into(),
        }
    }

    /// All behind the instances of one name.
    pub(super) fn after_name(name: &str) -> Self {
        Self {
            first: format!("[{name}\u{b}").into(),
            last: b"+".into(),
        }
    }

    /// What of it belongs to one name.
    pub(super) fn within(mut self, name: &str) -> Self {
        self.last = Self::name(name).last;
        self
    }

    /// What is watched.
    ///
    /// # Errors
    ///
    /// [`RegistryError::InvalidName`].
    pub(super) fn scope(scope: &WatchScope) -> Result<Self, RegistryError> {
        scope.check()?;
        Ok(match scope {
            WatchScope::All => Self::all(),
            WatchScope::Name(name) => Self::name(name),
        })
    }

    /// What of it comes after an id.
    pub(super) fn after(mut self, id: &[u8]) -> Self {
        self.first = [b"(", id].concat();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where an id stands, by the order of bytes, which is that of Redis.
    fn contains(range: &Range, id: &str) -> bool {
        let (first, last) = (&range.first[1..], &range.last[1..]);
        assert_eq!((range.first[0], range.last[0]), (b'[', b'('));
        (first..last).contains(&id.as_bytes())
    }

    #[test]
    fn a_range_holds_the_instances_of_its_name_and_nothing_else() {
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
    fn an_endpoint_comes_back_out_of_its_id() {
        for endpoint in ["tcp://[::1]:80", "unix:///tmp/a\nb c.sock"] {
            let endpoint: Endpoint = endpoint.parse().unwrap();
            assert_eq!(endpoint_of(&id("weather", &endpoint)), Some(endpoint));
        }
        for id in ["", "weather", "weather\n", "weather\nnowhere"] {
            assert_eq!(endpoint_of(id), None);
        }
    }
}
