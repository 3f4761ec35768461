//! Numbers that a peer cannot predict.

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher,
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

/// Returns a number that a peer cannot predict from those before (RFC 6455, sections 4.1 and 5.3).
/// Otherwise, a peer could choose the bytes that proxies see.
///
/// A counter is hashed with a key that the system has chosen at random for the process.
pub(super) fn unpredictable() -> u64 {
    static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    KEY.hash_one(COUNTER.fetch_add(1, Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn numbers_do_not_repeat() {
        let numbers: BTreeSet<u64> = (0..1000).map(|_| unpredictable()).collect();
        assert_eq!(numbers.len(), 1000);
    }
}
