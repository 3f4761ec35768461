//! The order of registrations in lists.

use std::{cmp::Ordering, sync::Arc};

use super::Registration;

/// Sorts registrations into listing order.
pub(crate) fn sort(registrations: &mut [Arc<Registration>]) {
    registrations.sort_unstable_by(|a, b| compare(a, b));
}

/// Compares two registrations by name, then by version, then by endpoint. Newer versions come
/// first, and registrations without a version come last.
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
