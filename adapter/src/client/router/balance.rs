//! Load balancing across instances.

use fastrand::Rng;

/// The policy that distributes calls among the instances of a discovered agent.
///
/// ```
/// use agentwire::{Balance, RemoteAgent, registry::LocalRegistry};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), agentwire::Error> {
/// let remote = RemoteAgent::discover(LocalRegistry::new(), "weather")
///     .balance(Balance::RoundRobin)
///     .build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Balance {
    /// Calls each instance in turn.
    RoundRobin,
    /// Chooses two instances at random, and calls the instance with fewer calls in flight from this
    /// client. This policy is the default, because it distributes calls evenly and sends fewer
    /// calls to slow instances.
    #[default]
    PowerOfTwoChoices,
}

/// The state of a load balancer.
#[derive(Debug)]
pub(super) struct Balancer {
    balance: Balance,
    turn: usize,
    random: Rng,
}

impl Balancer {
    pub(super) fn new(balance: Balance, mut random: Rng) -> Self {
        Self {
            balance,
            // The start is random because many clients may start together and receive the instances
            // in the same order.
            turn: random.usize(..),
            random,
        }
    }

    /// Chooses one of `count` instances and returns its index. Returns `None` if `count` is zero.
    ///
    /// `in_flight` returns the number of calls in flight to the instance with the given index.
    pub(super) fn pick(
        &mut self,
        count: usize,
        in_flight: impl Fn(usize) -> usize,
    ) -> Option<usize> {
        if count <= 1 {
            return count.checked_sub(1);
        }
        Some(match self.balance {
            Balance::RoundRobin => {
                self.turn = self.turn.wrapping_add(1);
                self.turn % count
            }
            Balance::PowerOfTwoChoices => {
                let first = self.random.usize(..count);
                // Choose any other instance with equal probability.
                let second = (first + self.random.usize(1..count)) % count;
                if in_flight(second) < in_flight(first) {
                    second
                } else {
                    first
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn balancer(balance: Balance) -> Balancer {
        Balancer::new(balance, Rng::with_seed(7))
    }

    /// Returns how many times each of the instances with the given `loads` is picked.
    fn picks(balance: Balance, loads: &[usize], rounds: usize) -> Vec<usize> {
        let mut balancer = balancer(balance);
        let mut picks = vec![0; loads.len()];
        for _ in 0..rounds {
            let picked = balancer.pick(loads.len(), |index| loads[index]).unwrap();
            picks[picked] += 1;
        }
        picks
    }

    #[test]
    fn without_instances_none_is_picked_and_a_single_one_always_is() {
        for balance in [Balance::RoundRobin, Balance::PowerOfTwoChoices] {
            assert_eq!(balancer(balance).pick(0, |_| 0), None);
            assert_eq!(balancer(balance).pick(1, |_| 99), Some(0));
        }
    }

    #[test]
    fn round_robin_picks_each_in_turn_whatever_its_load() {
        assert_eq!(picks(Balance::RoundRobin, &[0, 50, 1], 30), [10, 10, 10]);
    }

    #[test]
    fn round_robin_does_not_start_with_the_same_instance_in_every_client() {
        let mut firsts = [0; 4];
        for seed in 0..400 {
            let mut balancer = Balancer::new(Balance::RoundRobin, Rng::with_seed(seed));
            firsts[balancer.pick(4, |_| 0).unwrap()] += 1;
        }
        assert!(firsts.iter().all(|count| *count > 50), "{firsts:?}");
    }

    #[test]
    fn the_busiest_is_never_one_of_two_choices() {
        let picks = picks(Balance::PowerOfTwoChoices, &[2, 1, 0], 3000);
        assert_eq!(picks[0], 0);
        // The least busy instance is in two of the three possible pairs, and is picked from both of
        // these pairs.
        assert!(picks[2].abs_diff(2000) < 150, "{picks:?}");
    }

    #[test]
    fn equally_busy_instances_are_picked_equally_often() {
        let picks = picks(Balance::PowerOfTwoChoices, &[3, 3, 3, 3], 4000);
        assert!(picks.iter().all(|n| n.abs_diff(1000) < 150), "{picks:?}");
    }

    #[test]
    fn two_choices_keep_loads_even() {
        let mut balancer = balancer(Balance::PowerOfTwoChoices);
        let mut loads = [0_usize; 10];
        for _ in 0..10_000 {
            let picked = balancer.pick(loads.len(), |index| loads[index]).unwrap();
            loads[picked] += 1;
        }
        assert!(
            loads.iter().all(|load| load.abs_diff(1000) <= 5),
            "{loads:?}"
        );
    }
}
