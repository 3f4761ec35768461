/// Where one call has been already: another instance is better.
#[derive(Debug, Default)]
pub(super) struct Tried(Vec<Try>);

#[derive(Debug)]
struct Try {
    member: u64,
    is_unreachable: bool,
}

impl Tried {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn contains(&self, member: u64) -> bool {
        self.0.iter().any(|tried| tried.member == member)
    }

    /// The call could not reach that instance.
    pub(super) fn is_unreachable(&self, member: u64) -> bool {
        self.0
            .iter()
            .any(|tried| tried.member == member && tried.is_unreachable)
    }

    /// Notes an instance that the call has been at. False if it was noted already.
    pub(super) fn add(&mut self, member: u64, is_unreachable: bool) -> bool {
        match self.0.iter_mut().find(|tried| tried.member == member) {
            Some(tried) => {
                tried.is_unreachable |= is_unreachable;
                false
            }
            None => {
                self.0.push(Try {
                    member,
                    is_unreachable,
                });
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_noted_once() {
        let mut tried = Tried::default();
        assert!(tried.is_empty());
        assert!(tried.add(7, false));
        assert!(tried.contains(7) && !tried.is_unreachable(7) && !tried.contains(8));
        assert!(!tried.add(7, true));
        assert!(tried.is_unreachable(7));
        assert!(!tried.add(7, false));
        assert!(tried.is_unreachable(7), "it was, once");
    }
}
