//! The instances that a call has tried.

/// The instances that a call has tried. Later attempts prefer other instances.
#[derive(Debug, Default)]
pub(super) struct AttemptHistory(Vec<(u64, AttemptOutcome)>);

/// The worst outcome of a call's attempts to use an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum AttemptOutcome {
    /// The instance was reached.
    Reached,
    /// The instance could not be reached, but may become reachable.
    Unreachable,
    /// The instance cannot serve the call, even in another attempt.
    Unusable,
}

impl AttemptHistory {
    pub(super) fn contains(&self, instance: u64) -> bool {
        self.outcome(instance).is_some()
    }

    /// Returns the worst outcome for an instance, or `None` if the call has not tried the instance.
    pub(super) fn outcome(&self, instance: u64) -> Option<AttemptOutcome> {
        let tried = self.0.iter().find(|(id, _)| *id == instance);
        tried.map(|(_, outcome)| *outcome)
    }

    /// Adds the outcome of an attempt. Returns whether the attempt was the first one for this
    /// instance.
    pub(super) fn add(&mut self, instance: u64, outcome: AttemptOutcome) -> bool {
        match self.0.iter_mut().find(|(id, _)| *id == instance) {
            Some((_, worst)) => {
                *worst = outcome.max(*worst);
                false
            }
            None => {
                self.0.push((instance, outcome));
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_listed_once_with_its_worst_outcome() {
        let mut history = AttemptHistory::default();
        assert!(history.add(7, AttemptOutcome::Reached));
        assert!(history.contains(7) && !history.contains(8));
        assert!(!history.add(7, AttemptOutcome::Unusable));
        assert!(!history.add(7, AttemptOutcome::Unreachable));
        assert_eq!(history.outcome(7), Some(AttemptOutcome::Unusable));
        assert_eq!(history.outcome(8), None);
    }
}
