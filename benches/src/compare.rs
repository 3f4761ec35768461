use std::{collections::BTreeMap, fs, path::PathBuf};

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::{
    Failure,
    drive::Measured,
    peers::Peer,
    process::Process,
    shape::{SHAPES, Shape},
};

#[derive(Args)]
pub(crate) struct CompareArgs {
    /// How long each measurement lasts
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,

    /// How many rounds there are; the table shows medians
    #[arg(long, default_value_t = 5)]
    rounds: usize,

    /// Only these peers
    #[arg(long, value_delimiter = ',')]
    peers: Option<Vec<Peer>>,

    /// Where to write all that was measured, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// One cell of the table, in one round.
#[derive(Serialize)]
struct Sample {
    peer: Peer,
    shape: &'static str,
    round: usize,
    #[serde(flatten)]
    measured: Measured,
}

impl CompareArgs {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let peers = self
            .peers
            .clone()
            .unwrap_or_else(|| Peer::value_variants().to_vec());
        let mut samples = Vec::new();
        for round in 0..self.rounds {
            for (name, shape, pinned) in SHAPES {
                // Peers take turns within each shape, so that what slows the machine slows all of them.
                for &peer in peers.iter().filter(|peer| peer.can(shape)) {
                    eprint!(
                        "\r\x1b[Kround {} of {}: {name}, {}",
                        round + 1,
                        self.rounds,
                        peer.name()
                    );
                    let measured = self.measure(peer, shape, pinned)?;
                    samples.push(Sample {
                        peer,
                        shape: name,
                        round,
                        measured,
                    });
                }
            }
        }
        eprint!("\r\x1b[K");
        print_table(&samples);
        if let Some(file) = &self.json {
            fs::write(file, serde_json::to_string_pretty(&samples)?)?;
        }
        Ok(())
    }

    /// One client process against one server process, both of them fresh.
    fn measure(&self, peer: Peer, shape: Shape, pinned: bool) -> Result<Measured, Failure> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("bench.sock").display().to_string();
        let cpu = pinned.then_some(0);
        let mut server = Process::start(&["serve".to_owned(), peer.name(), path.clone()], cpu)?;
        if server.line()?.trim() != "READY" {
            return Err(format!("the server of {} does not start", peer.name()).into());
        }
        let seconds = self.seconds.to_string();
        let options = [
            ("--connections", shape.connections.to_string()),
            ("--in-flight", shape.in_flight.to_string()),
            ("--size", shape.size.to_string()),
            ("--seconds", seconds),
        ];
        let mut args = vec!["drive".to_owned(), peer.name(), path];
        args.extend(
            options
                .into_iter()
                .flat_map(|(name, value)| [name.to_owned(), value]),
        );
        let before = server.cpu_time()?;
        let mut client = Process::start(&args, cpu)?;
        let line = client.line()?;
        let mut measured: Measured = serde_json::from_str(&line)
            .map_err(|error| format!("the client of {} says {line:?}: {error}", peer.name()))?;
        // The server has also worked for the warm-up, a fifth as long.
        let served = (server.cpu_time()? - before).as_secs_f64() / 1.2;
        measured.cpu += served * 1e6 / measured.calls as f64;
        Ok(measured)
    }
}

fn print_table(samples: &[Sample]) {
    let mut cells: BTreeMap<(&str, Peer), Vec<Measured>> = BTreeMap::new();
    for sample in samples {
        cells
            .entry((sample.shape, sample.peer))
            .or_default()
            .push(sample.measured);
    }
    println!("| shape | peer | calls/s | p50 us | p99 us | p99.9 us | CPU us/call |");
    println!("|---|---|---|---|---|---|---|");
    for (shape, _, _) in SHAPES {
        for ((_, peer), measured) in cells.iter().filter(|((name, _), _)| *name == shape) {
            let of = |value: fn(&Measured) -> f64| median(measured.iter().map(value).collect());
            println!(
                "| {shape} | {} | {:.0} | {:.1} | {:.1} | {:.1} | {:.2} |",
                peer.name(),
                of(|measured| measured.calls_per_second),
                of(|measured| measured.p50),
                of(|measured| measured.p99),
                of(|measured| measured.p999),
                of(|measured| measured.cpu),
            );
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 100.0]), 3.0);
        assert_eq!(median(vec![2.0]), 2.0);
        assert!(median(Vec::new()).is_nan());
    }
}
