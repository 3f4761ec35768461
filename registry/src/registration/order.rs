//! The order in which registries list.

use std::{cmp::Ordering, sync::Arc};

use super::Registration;

/// Sorts registrations into listing order.
pub(crate) fn sort(registrations: &mut [Arc<Registration>]) {
    registrations.sort_unstable_by(|a, b| compare(a, b));
}

/// Compares by name, then newest version first and unversioned last, then by endpoint.
pub(crate) fn compare(a: &Registration, b: &Registration) -> Ordering {
    a.name
        .cmp(&b.name)
        .then_with(|| b.version.cmp(&a.version))
        .then_with(|| a.endpoint.cmp(&b.endpoint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_first_then_versions_then_endpoints() {
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
