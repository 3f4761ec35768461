use std::{cmp::Ordering, sync::Arc};

use super::Registration;

impl Registration {
    /// The order in which registrations are listed: by name, then the newest version first and those without
    /// one last, then by endpoint. No two of one registry are equal in it.
    #[must_use]
    pub fn listing_order(&self, other: &Self) -> Ordering {
        self.name
            .cmp(&other.name)
            .then_with(|| other.version.cmp(&self.version))
            .then_with(|| self.endpoint.cmp(&other.endpoint))
    }
}

pub(crate) fn sort(registrations: &mut [Arc<Registration>]) {
    registrations.sort_unstable_by(|a, b| a.listing_order(b));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_first_then_new_versions_then_endpoints() {
        let make = |(name, version, port): (&str, &str, u16)| {
            let endpoint = format!("tcp://host:{port}").parse().unwrap();
            let mut made = Registration::new(name, endpoint);
            made.version = version.parse().ok();
            Arc::new(made)
        };
        let sorted = [
            ("a", "", 1),
            ("b", "10.0.0", 4),
            ("b", "9.0.0", 3),
            ("b", "9.0.0-rc.1", 1),
            ("b", "", 9),
            ("b", "", 10),
        ];
        let mut mixed: Vec<_> = sorted.into_iter().rev().map(make).collect();
        sort(&mut mixed);
        let found: Vec<_> = mixed.iter().map(|r| r.endpoint.to_string()).collect();
        let expected: Vec<_> = sorted
            .map(|(_, _, port)| format!("tcp://host:{port}"))
            .into();
        assert_eq!(found, expected);
    }
}
