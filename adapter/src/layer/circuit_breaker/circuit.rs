//! The state of one circuit, without I/O: [`Circuit`].

use std::time::Duration;

use tokio::time::Instant;

/// The settings of a circuit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    /// The number of failures in a row that open the circuit.
    pub(super) failures: u32,
    pub(super) open_for: Duration,
    /// The number of successful trials that close the circuit.
    pub(super) successes: u32,
    /// The number of trials at a time.
    pub(super) trials: u32,
}

/// The state of a circuit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CircuitState {
    /// All requests reach the agent.
    Closed,
    /// No request reaches the agent.
    Open,
    /// A few requests reach the agent, to find out whether it works again.
    HalfOpen,
}

/// Whether requests reach one agent.
#[derive(Debug, Default)]
pub(super) struct Circuit {
    phase: Phase,
    /// The number of the current phase. A request that started in an earlier phase says nothing
    /// about the current one.
    number: u64,
}

#[derive(Debug)]
enum Phase {
    Closed {
        failures: u32,
    },
    Open {
        until: Instant,
    },
    HalfOpen {
        running: u32,
        successes: u32,
        /// The number of times that running trials were given up.
        round: u64,
        /// When the running trials are given up, so that others may start.
        until: Instant,
    },
}

impl Default for Phase {
    fn default() -> Self {
        Self::Closed { failures: 0 }
    }
}

/// A request that reaches the agent. Its outcome must be recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket {
    phase: u64,
    round: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Success,
    Failure,
    /// The caller has left, so nothing is known.
    Unknown,
}

impl Circuit {
    /// Admits a request.
    ///
    /// # Errors
    ///
    /// Returns the time after which a request may be admitted.
    pub(super) fn admit(&mut self, settings: &Settings) -> Result<Ticket, Duration> {
        let now = Instant::now();
        let until = now + settings.open_for.max(TRIAL_RETRY);
        if let Phase::Open { until: opens } = self.phase {
            if now < opens {
                return Err(opens - now);
            }
            self.enter(Phase::HalfOpen {
                running: 0,
                successes: 0,
                round: 0,
                until,
            });
        }
        let mut ticket = Ticket {
            phase: self.number,
            round: 0,
        };
        if let Phase::HalfOpen {
            running,
            successes,
            round,
            until: given_up,
        } = &mut self.phase
        {
            // More trials than successes are needed would let too much through.
            let needed = settings.successes.saturating_sub(*successes);
            if *running >= settings.trials.min(needed) {
                if now < *given_up {
                    return Err(TRIAL_RETRY.min(*given_up - now));
                }
                // A trial that never ends must not keep the circuit half-open.
                (*running, *round) = (0, *round + 1);
            }
            *running += 1;
            *given_up = until;
            ticket.round = *round;
        }
        Ok(ticket)
    }

    /// Records the outcome of a request. Returns the new state if it has changed.
    pub(super) fn record(
        &mut self,
        ticket: Ticket,
        outcome: Outcome,
        settings: &Settings,
    ) -> Option<CircuitState> {
        if ticket.phase != self.number {
            return None;
        }
        if let Phase::HalfOpen { running, round, .. } = &mut self.phase {
            // A trial that was given up does not count as running, but its outcome does count.
            *running -= u32::from(ticket.round == *round);
        }
        match (&mut self.phase, outcome) {
            (Phase::Closed { failures }, Outcome::Success) => *failures = 0,
            (Phase::Closed { failures }, Outcome::Failure) => {
                *failures += 1;
                if *failures >= settings.failures {
                    return Some(self.open(settings));
                }
            }
            (Phase::HalfOpen { successes, .. }, Outcome::Success) => {
                *successes += 1;
                if *successes >= settings.successes {
                    self.enter(Phase::default());
                    return Some(CircuitState::Closed);
                }
            }
            (Phase::HalfOpen { .. }, Outcome::Failure) => return Some(self.open(settings)),
            (_, Outcome::Unknown) | (Phase::Open { .. }, _) => {}
        }
        None
    }

    pub(super) fn state(&self) -> CircuitState {
        match self.phase {
            Phase::Closed { .. } => CircuitState::Closed,
            Phase::Open { until } if Instant::now() < until => CircuitState::Open,
            Phase::Open { .. } | Phase::HalfOpen { .. } => CircuitState::HalfOpen,
        }
    }

    fn open(&mut self, settings: &Settings) -> CircuitState {
        let until = Instant::now() + settings.open_for;
        self.enter(Phase::Open { until });
        CircuitState::Open
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.number += 1;
    }
}

/// When a request that is refused during a trial should try again, because the end of the trial is
/// unknown. Also the least time before a trial is given up.
const TRIAL_RETRY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    /// A naive model: the whole history, read anew for each request.
    #[derive(Default)]
    struct Model {
        /// The outcomes of the requests of each phase.
        failures_in_row: u32,
        open_until: Option<Instant>,
        half_open: Option<Trials>,
        phase: u64,
        /// The number of the last request.
        request: u64,
    }

    #[derive(Default)]
    struct Trials {
        /// The numbers of the requests that are not given up.
        running: Vec<u64>,
        successes: u32,
        last: Option<Instant>,
    }

    impl Model {
        fn admits(&mut self, settings: &Settings) -> bool {
            if self.open_until.is_some_and(|until| until <= Instant::now()) {
                self.open_until = None;
                self.half_open = Some(Trials::default());
                self.phase += 1;
            }
            match (&mut self.half_open, self.open_until) {
                (_, Some(_)) => false,
                (Some(trials), None) => {
                    let patience = settings.open_for.max(Duration::from_secs(1));
                    let has_place = |trials: &Trials| {
                        let running = trials.running.len() as u32;
                        running < settings.trials && running + trials.successes < settings.successes
                    };
                    if !has_place(trials) && trials.last.unwrap().elapsed() >= patience {
                        trials.running.clear();
                    }
                    let admits = has_place(trials);
                    if admits {
                        self.request += 1;
                        trials.running.push(self.request);
                        trials.last = Some(Instant::now());
                    }
                    admits
                }
                (None, None) => {
                    self.request += 1;
                    true
                }
            }
        }

        fn ends(&mut self, request: u64, phase: u64, outcome: Outcome, settings: &Settings) {
            if phase != self.phase || self.open_until.is_some() {
                return;
            }
            let opens;
            if let Some(trials) = &mut self.half_open {
                trials.running.retain(|running| *running != request);
                trials.successes += u32::from(outcome == Outcome::Success);
                opens = outcome == Outcome::Failure;
                if trials.successes == settings.successes {
                    self.half_open = None;
                    self.failures_in_row = 0;
                    self.phase += 1;
                }
            } else {
                match outcome {
                    Outcome::Success => self.failures_in_row = 0,
                    Outcome::Failure => self.failures_in_row += 1,
                    Outcome::Unknown => {}
                }
                opens = self.failures_in_row == settings.failures;
            }
            if opens {
                self.half_open = None;
                self.open_until = Some(Instant::now() + settings.open_for);
                self.failures_in_row = 0;
                self.phase += 1;
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn requests_are_admitted_as_by_a_naive_model() {
        for seed in 0..300 {
            let mut random = fastrand::Rng::with_seed(seed);
            let settings = Settings {
                failures: random.u32(1..5),
                open_for: Duration::from_millis(random.u64(1..50)),
                successes: random.u32(1..4),
                trials: random.u32(1..4),
            };
            let (mut circuit, mut model) = (Circuit::default(), Model::default());
            let mut running = Vec::new();
            let failing = random.u32(1..10);
            for step in 0..400 {
                if random.bool() || running.is_empty() {
                    let admitted = circuit.admit(&settings);
                    assert_eq!(admitted.is_ok(), model.admits(&settings), "{seed} {step}");
                    let request = (model.request, model.phase);
                    running.extend(admitted.ok().map(|ticket| (ticket, request)));
                } else {
                    let (ticket, (request, phase)) =
                        running.swap_remove(random.usize(0..running.len()));
                    let outcome = match random.u32(0..12) {
                        0 => Outcome::Unknown,
                        roll if roll <= failing => Outcome::Failure,
                        _ => Outcome::Success,
                    };
                    circuit.record(ticket, outcome, &settings);
                    model.ends(request, phase, outcome, &settings);
                }
                let hangs = random.u32(0..20) == 0;
                let pause = if hangs { 1000 } else { random.u64(0..6) };
                tokio::time::advance(Duration::from_millis(pause)).await;
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_trial_that_never_ends_is_given_up_and_still_counts_if_it_ends() {
        let settings = Settings {
            failures: 1,
            open_for: Duration::from_secs(60),
            successes: 2,
            trials: 1,
        };
        let mut circuit = Circuit::default();
        let first = circuit.admit(&settings).unwrap();
        circuit.record(first, Outcome::Failure, &settings);
        tokio::time::advance(settings.open_for).await;
        let hanging = circuit.admit(&settings).unwrap();
        assert_eq!(circuit.admit(&settings), Err(TRIAL_RETRY));
        tokio::time::advance(settings.open_for - Duration::from_millis(1)).await;
        assert_eq!(circuit.admit(&settings), Err(Duration::from_millis(1)));
        tokio::time::advance(Duration::from_millis(1)).await;
        let second = circuit.admit(&settings).unwrap();
        assert_eq!(circuit.admit(&settings), Err(TRIAL_RETRY));
        assert_eq!(circuit.record(second, Outcome::Success, &settings), None);
        let closed = circuit.record(hanging, Outcome::Success, &settings);
        assert_eq!(closed, Some(CircuitState::Closed));
    }
}
