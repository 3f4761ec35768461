//! The `plot` command, which generates the plots and tables of the documentation.

mod bars;
mod lines;
mod svg;

use std::{collections::BTreeMap, fs, path::PathBuf};

use clap::Args;
use serde::de::DeserializeOwned;

use self::svg::Svg;
use crate::{
    BenchError, aims,
    comparison::Comparison,
    document, doors,
    sample::Metric,
    scale::{self, Growth},
    scenario::Scenario,
    summary, table,
    tracer::Tracer,
};

#[derive(Args)]
pub(crate) struct PlotArgs {
    /// The file that `compare --json` wrote
    #[arg(long, value_name = "FILE")]
    compare: PathBuf,

    /// The file that `scale --json` wrote. Without it, the other file is that of `compare --doors`,
    /// and only the carriers above TCP are drawn
    #[arg(long, value_name = "FILE")]
    scale: Option<PathBuf>,

    /// The folder to write the plots to
    #[arg(long, value_name = "FOLDER")]
    plots: PathBuf,

    /// Files in which to replace the tables, between `<!-- NAME -->` and `<!-- /NAME -->`
    #[arg(long, value_name = "FILE")]
    document: Vec<PathBuf>,
}

impl PlotArgs {
    pub(crate) fn run(self) -> Result<(), BenchError> {
        let comparison: Comparison = read(&self.compare)?;
        fs::create_dir_all(&self.plots)?;
        let (plots, parts) = match &self.scale {
            Some(scale) => all(&comparison, &read(scale)?),
            None => doors(&comparison),
        };
        for (name, plot) in plots {
            fs::write(self.plots.join(name), plot.finish())?;
        }
        for file in &self.document {
            document::fill(file, &parts)?;
        }
        Ok(())
    }
}

/// Plots by their file names, and tables by the names of their places in the documents.
type Output = (Vec<(&'static str, Svg)>, BTreeMap<&'static str, String>);

/// Draws everything but the carriers above TCP.
fn all(comparison: &Comparison, growth: &Growth) -> Output {
    let mut latency = Svg::new();
    let title = "One call at a time, both processes on one CPU: median in microseconds";
    bars::draw(
        &mut latency,
        comparison,
        title,
        Scenario::LoneOneCpu,
        Metric::P50,
    );
    let mut throughput = Svg::new();
    for (title, scenario) in [
        (
            "1 connection, 64 calls in flight: calls per second",
            Scenario::OneBySixtyFour,
        ),
        (
            "16 connections, 4 calls in flight on each: calls per second",
            Scenario::SixteenByFour,
        ),
        (
            "64 connections, 1 call in flight on each: calls per second",
            Scenario::SixtyFourByOne,
        ),
    ] {
        bars::draw(
            &mut throughput,
            comparison,
            title,
            scenario,
            Metric::CallsPerSecond,
        );
    }
    let mut scaling = Svg::new();
    lines::draw(&mut scaling, growth, "calls per second", |step| {
        step.calls_per_second
    });
    lines::draw(&mut scaling, growth, "p99 in microseconds", |step| step.p99);
    let plots = vec![
        ("latency.svg", latency),
        ("throughput.svg", throughput),
        ("scaling.svg", scaling),
    ];
    let parts = BTreeMap::from([
        ("machine", machine(comparison)),
        ("comparison", table::markdown(comparison)),
        ("aims", aims::markdown(comparison, growth)),
        ("scale", scale::markdown(growth)),
        ("summary", summary::markdown(comparison)),
    ]);
    (plots, parts)
}

/// Draws the carriers above TCP.
fn doors(comparison: &Comparison) -> Output {
    let mut doors = Svg::new();
    for (title, scenario, metric) in [
        (
            "One call at a time: median in microseconds",
            Scenario::Lone,
            Metric::P50,
        ),
        (
            "1 connection, 64 calls in flight: calls per second",
            Scenario::OneBySixtyFour,
            Metric::CallsPerSecond,
        ),
        (
            "64 connections, 1 call in flight on each: calls per second",
            Scenario::SixtyFourByOne,
            Metric::CallsPerSecond,
        ),
    ] {
        bars::draw_doors(&mut doors, comparison, title, scenario, metric);
    }
    let parts = BTreeMap::from([
        ("doors-machine", machine(comparison)),
        ("doors", doors::markdown(comparison)),
        ("doors-aims", aims::markdown_of_doors(comparison)),
    ]);
    (vec![("doors.svg", doors)], parts)
}

fn read<T: DeserializeOwned>(file: &PathBuf) -> Result<T, BenchError> {
    let text = fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", file.display()))?)
}

/// Describes the machine, the method and the omitted measurements.
fn machine(comparison: &Comparison) -> String {
    let counted = match comparison.tracer {
        Some(Tracer::Perf) => "perf",
        Some(Tracer::Strace) => "strace",
        None => "nothing",
    };
    let mut text = format!(
        "{}. Medians of {} rounds of {} s; system calls counted by {counted}.\n",
        comparison.machine.sentence(),
        comparison.rounds,
        comparison.seconds,
    );
    for reason in &comparison.left_out {
        text += &format!("\nLeft out: {reason}.\n");
    }
    text
}
