//! How many additional requests a layer may send: [`Budget`].

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// A budget for additional requests. Each request of a caller pays for a part of an additional one,
/// so that additional requests cannot multiply the load while an agent fails.
///
/// The operations are relaxed, because the budget orders no other memory.
#[derive(Debug)]
pub(super) struct Budget {
    /// What is left, in thousandths of a request.
    left: AtomicU32,
    deposit: u32,
    max: u32,
}

impl Budget {
    /// Creates a budget of `percent` of the requests, and of `reserve` additional requests at
    /// first.
    pub(super) fn new(percent: u32, reserve: u32) -> Self {
        let reserve = reserve.min(MAX_RESERVE) * REQUEST;
        Self {
            left: AtomicU32::new(reserve),
            deposit: percent.min(100) * REQUEST / 100,
            max: reserve.max(REQUEST),
        }
    }

    /// Counts a request of a caller.
    pub(super) fn deposit(&self) {
        let left = self.left.load(Relaxed);
        if left < self.max {
            // A lost update only makes the budget smaller.
            let _ = self.left.compare_exchange(
                left,
                (left + self.deposit).min(self.max),
                Relaxed,
                Relaxed,
            );
        }
    }

    /// Takes an additional request from the budget. Returns whether there was one.
    pub(super) fn withdraw(&self) -> bool {
        let withdraw = |left: u32| left.checked_sub(REQUEST);
        self.left.fetch_update(Relaxed, Relaxed, withdraw).is_ok()
    }
}

const REQUEST: u32 = 1000;
const MAX_RESERVE: u32 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn additional_requests_are_a_part_of_all_and_a_reserve() {
        let budget = Budget::new(20, 3);
        assert!((0..3).all(|_| budget.withdraw()));
        assert!(!budget.withdraw());
        let mut withdrawn = 0;
        for _ in 0..100 {
            budget.deposit();
            withdrawn += u32::from(budget.withdraw());
        }
        assert_eq!(withdrawn, 20);
        // Without failures, the budget does not grow without bound.
        (0..1000).for_each(|_| budget.deposit());
        assert_eq!((0..10).filter(|_| budget.withdraw()).count(), 3);
        assert!(!Budget::new(0, 0).withdraw());
    }
}
