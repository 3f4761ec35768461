//! What became of the calls.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use agentwire_interop_tests::{TestFailure, TestResult};

/// What became of one call.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The reply belongs to the call.
    Replied(&'static str),
    /// The call failed as calls may fail, with this code or for this reason.
    Failed(Cow<'static, str>),
    /// The reply does not belong to the call.
    Wrong(String),
    /// The call did not end.
    Hung(String),
    /// The call failed as no call may fail.
    Unexpected(String),
}

/// The outcomes of the calls of one group.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    replied: BTreeMap<&'static str, u64>,
    failed: BTreeMap<Cow<'static, str>, u64>,
    wrong: u64,
    hung: u64,
    unexpected: u64,
    /// The first calls whose outcomes are faults.
    faults: Vec<String>,
}

impl Tally {
    pub(crate) fn count(&mut self, outcome: Outcome) {
        let (counter, fault) = match outcome {
            Outcome::Replied(how) => return *self.replied.entry(how).or_default() += 1,
            Outcome::Failed(code) => return *self.failed.entry(code).or_default() += 1,
            Outcome::Wrong(text) => (&mut self.wrong, text),
            Outcome::Hung(text) => (&mut self.hung, text),
            Outcome::Unexpected(text) => (&mut self.unexpected, text),
        };
        *counter += 1;
        if self.faults.len() < MAX_FAULTS {
            self.faults.push(fault);
        }
    }

    /// Adds the outcomes that the Python callers have checked themselves.
    pub(crate) fn count_python(&mut self, outcomes: BTreeMap<String, u64>) {
        for (outcome, count) in outcomes {
            let reply = ["answered", "streamed", "failed as asked"]
                .into_iter()
                .find(|reply| *reply == outcome);
            match reply {
                Some(reply) => *self.replied.entry(reply).or_default() += count,
                None => *self.failed.entry(outcome.into()).or_default() += count,
            }
        }
    }

    fn merge(&mut self, other: Self) {
        for (how, count) in other.replied {
            *self.replied.entry(how).or_default() += count;
        }
        for (code, count) in other.failed {
            *self.failed.entry(code).or_default() += count;
        }
        self.wrong += other.wrong;
        self.hung += other.hung;
        self.unexpected += other.unexpected;
        self.faults.extend(other.faults);
        self.faults.truncate(MAX_FAULTS);
    }

    fn replies(&self) -> u64 {
        self.replied.values().sum()
    }

    fn calls(&self) -> u64 {
        let failed: u64 = self.failed.values().sum();
        self.replies() + failed + self.wrong + self.hung + self.unexpected
    }
}

/// Prints all numbers on one line.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            wrong,
            hung,
            unexpected,
            ..
        } = self;
        let (calls, replies) = (self.calls(), self.replies());
        write!(f, "{calls} calls, {replies} replies (")?;
        write_counts(f, &self.replied)?;
        write!(f, "), {} failed (", self.failed.values().sum::<u64>())?;
        write_counts(f, &self.failed)?;
        write!(
            f,
            "), {wrong} wrong replies, {hung} hangs, {unexpected} unexpected errors"
        )
    }
}

fn write_counts<K: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    counts: &BTreeMap<K, u64>,
) -> fmt::Result {
    for (position, (what, count)) in counts.iter().enumerate() {
        let comma = if position > 0 { ", " } else { "" };
        write!(f, "{comma}{count} {what}")?;
    }
    Ok(())
}

/// The outcomes of all groups, by the name of the group.
#[derive(Debug, Default)]
pub(crate) struct Tallies(BTreeMap<&'static str, Tally>);

impl Tallies {
    pub(crate) fn group(&mut self, name: &'static str) -> &mut Tally {
        self.0.entry(name).or_default()
    }

    pub(crate) fn add(&mut self, name: &'static str, tally: Tally) {
        self.group(name).merge(tally);
    }

    pub(crate) fn merge(&mut self, other: Self) {
        for (name, tally) in other.0 {
            self.add(name, tally);
        }
    }

    /// # Errors
    ///
    /// Returns an error with the first faults of each group.
    pub(crate) fn check(&self) -> TestResult {
        let faults = self.0.iter().flat_map(|(name, tally)| {
            let faults = tally.faults.iter();
            faults.map(move |fault| format!("{name}: {fault}"))
        });
        let faults: Vec<_> = faults.collect();
        if faults.is_empty() {
            return Ok(());
        }
        Err(TestFailure::new(faults.join("\n")))
    }
}

/// Prints a line for each group, and one for all.
impl fmt::Display for Tallies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut all = Tally::default();
        for (name, tally) in &self.0 {
            writeln!(f, "{name}: {tally}")?;
            all.merge(Tally {
                replied: tally.replied.clone(),
                failed: tally.failed.clone(),
                faults: Vec::new(),
                ..*tally
            });
        }
        write!(f, "all: {all}")
    }
}

/// How many faults are described.
const MAX_FAULTS: usize = 10;
