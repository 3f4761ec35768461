/// How often Redis has refused something, without anything else in between.
#[derive(Debug, Default)]
pub(super) struct Refusals(u32);

/// Some of them pass: too many clients, or no memory for a moment. With the waits in between, these are some 10 s.
const ENOUGH: u32 = 10;

impl Refusals {
    /// Counts one more. True if there is no sense in waiting for another answer.
    pub(super) fn is_enough(&mut self, forbidden: bool) -> bool {
        self.0 += 1;
        forbidden || self.0 >= ENOUGH
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_forbidden_is_so_at_once_and_all_else_in_the_end() {
        assert!(Refusals::default().is_enough(true));
        let mut refusals = Refusals::default();
        for _ in 1..ENOUGH {
            assert!(!refusals.is_enough(false));
        }
        assert!(refusals.is_enough(false));
    }
}
