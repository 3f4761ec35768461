//! Kills and freezes servers and cuts connections, each after some number of calls.

use std::{collections::BTreeMap, fmt};

use agentwire_interop_tests::{Relay, TestFailure};
use fastrand::Rng;

use crate::{progress::Progress, servers::Mortal};

/// How often each failure was caused.
#[derive(Debug, Default)]
pub(crate) struct Failures(BTreeMap<&'static str, u64>);

impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.0.iter().map(|(what, count)| format!("{count} {what}"));
        f.write_str(&counts.collect::<Vec<_>>().join(", "))
    }
}

/// Causes failures until the round is over.
pub(crate) async fn cause_failures(
    servers: (&mut Mortal, &mut Mortal),
    relays: &[Relay],
    progress: &Progress,
    mut random: Rng,
) -> Result<Failures, TestFailure> {
    let (rust, python) = servers;
    let mut failures = Failures::default();
    let mut next = 0;
    let mut kinds = Vec::new();
    loop {
        next += random.u64(100..1000);
        if !progress.reach(next).await {
            break;
        }
        // Every kind once, in any order, and then every kind again.
        if kinds.is_empty() {
            kinds.extend(0..8);
            random.shuffle(&mut kinds);
        }
        let what = match kinds.pop() {
            Some(0) => {
                rust.replace().await?;
                "kills of the Rust server"
            }
            Some(1) => {
                python.replace().await?;
                "kills of the Python server"
            }
            Some(2) => {
                rust.freeze()?;
                "freezes of the Rust server"
            }
            Some(3) => {
                python.freeze()?;
                "freezes of the Python server"
            }
            Some(4) => {
                rust.thaw()?;
                python.thaw()?;
                "thaws"
            }
            _ => {
                relays[random.usize(..relays.len())].cut();
                "cuts of all connections"
            }
        };
        *failures.0.entry(what).or_default() += 1;
    }
    rust.thaw()?;
    python.thaw()?;
    Ok(failures)
}
