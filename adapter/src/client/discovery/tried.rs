/// Where one call has been already: another instance is better.
#[derive(Debug, Default)]
pub(super) struct Tried(Vec<(u64, Came)>);

/// What came of a call's visit to an instance. Of several visits, the worst counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Came {
    /// It was there.
    Reached,
    /// It could not be reached, which may pass.
    Unreached,
    /// It is no good to this call, however often it is tried.
    NoGood,
}

impl Tried {
    pub(super) fn contains(&self, member: u64) -> bool {
        self.came(member).is_some()
    }

    /// What came of the visits to that instance; `None` if there were none.
    pub(super) fn came(&self, member: u64) -> Option<Came> {
        let tried = self.0.iter().find(|(id, _)| *id == member);
        tried.map(|(_, came)| *came)
    }

    /// Notes an instance that the call has been at. False if it was noted already.
    pub(super) fn add(&mut self, member: u64, came: Came) -> bool {
        match self.0.iter_mut().find(|(id, _)| *id == member) {
            Some((_, worst)) => {
                *worst = came.max(*worst);
                false
            }
            None => {
                self.0.push((member, came));
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_noted_once_with_the_worst() {
        let mut tried = Tried::default();
        assert!(tried.add(7, Came::Reached));
        assert!(tried.contains(7) && !tried.contains(8));
        assert!(!tried.add(7, Came::NoGood));
        assert!(!tried.add(7, Came::Unreached));
        assert_eq!(tried.came(7), Some(Came::NoGood));
        assert_eq!(tried.came(8), None);
    }
}
