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
    Closed { failures: u32 },
    Open { until: Instant },
    HalfOpen { running: u32, successes: u32 },
}

impl Default for Phase {
    fn default() -> Self {
        Self::Closed { failures: 0 }
    }
}

/// A request that reaches the agent. Its outcome must be recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket(u64);

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
        if let Phase::Open { until } = self.phase {
            let left = until.saturating_duration_since(Instant::now());
            if !left.is_zero() {
                return Err(left);
            }
            self.enter(Phase::HalfOpen {
                running: 0,
                successes: 0,
            });
        }
        if let Phase::HalfOpen { running, successes } = &mut self.phase {
            // More trials than successes are needed would let too much through.
            let needed = settings.successes.saturating_sub(*successes);
            if *running >= settings.trials.min(needed) {
                return Err(TRIAL_RETRY);
            }
            *running += 1;
        }
        Ok(Ticket(self.number))
    }

    /// Records the outcome of a request. Returns the new state if it has changed.
    pub(super) fn record(
        &mut self,
        ticket: Ticket,
        outcome: Outcome,
        settings: &Settings,
    ) -> Option<CircuitState> {
        if ticket.0 != self.number {
            return None;
        }
        match (&mut self.phase, outcome) {
            (Phase::Closed { failures }, Outcome::Success) => *failures = 0,
            (Phase::Closed { failures }, Outcome::Failure) => {
                *failures += 1;
                if *failures >= settings.failures {
                    return Some(self.open(settings));
                }
            }
            (Phase::HalfOpen { running, successes }, Outcome::Success) => {
                *running -= 1;
                *successes += 1;
                if *successes >= settings.successes {
                    self.enter(Phase::default());
                    return Some(CircuitState::Closed);
                }
            }
            (Phase::HalfOpen { .. }, Outcome::Failure) => return Some(self.open(settings)),
            (Phase::HalfOpen { running, .. }, Outcome::Unknown) => *running -= 1,
            (Phase::Closed { .. }, Outcome::Unknown) | (Phase::Open { .. }, _) => {}
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
/// unknown.
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
        half_open: Option<(u32, u32)>,
        phase: u64,
    }

    impl Model {
        fn admits(&mut self, settings: &Settings) -> bool {
            if self.open_until.is_some_and(|until| until <= Instant::now()) {
                self.open_until = None;
                self.half_open = Some((0, 0));
                self.phase += 1;
            }
            match (&mut self.half_open, self.open_until) {
                (_, Some(_)) => false,
                (Some((running, successes)), None) => {
                    let admits =
                        *running < settings.trials && *running + *successes < settings.successes;
                    *running += u32::from(admits);
                    admits
                }
                (None, None) => true,
            }
        }

        fn ends(&mut self, phase: u64, outcome: Outcome, settings: &Settings) {
            if phase != self.phase || self.open_until.is_some() {
                return;
            }
            let opens;
            if let Some((running, successes)) = &mut self.half_open {
                *running -= 1;
                *successes += u32::from(outcome == Outcome::Success);
                opens = outcome == Outcome::Failure;
                if *successes == settings.successes {
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
                    running.extend(admitted.ok().map(|ticket| (ticket, model.phase)));
                } else {
                    let (ticket, phase) = running.swap_remove(random.usize(0..running.len()));
                    let outcome = match random.u32(0..12) {
                        0 => Outcome::Unknown,
                        roll if roll <= failing => Outcome::Failure,
                        _ => Outcome::Success,
                    };
                    circuit.record(ticket, outcome, &settings);
                    model.ends(phase, outcome, &settings);
                }
                tokio::time::advance(Duration::from_millis(random.u64(0..6))).await;
            }
        }
    }
}
