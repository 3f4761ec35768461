//! The command line.

use clap::{Parser, Subcommand};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{
    Allocations, BenchError, client::DriveArgs, compare::CompareArgs, plot::PlotArgs,
    scale::ScaleArgs, server::ServeArgs,
};

#[derive(Parser)]
#[command(
    name = "agentwire-benches",
    about = "Measure what agentwire costs, beside its peers"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Compare all peers and print tables
    Compare(CompareArgs),
    /// Measure how throughput, latency, fairness and memory change with the number of connections
    Scale(ScaleArgs),
    /// Write the plots and tables of the documentation from recorded results
    Plot(PlotArgs),
    /// Serve one peer until standard input is closed (started by the other commands)
    Serve(ServeArgs),
    /// Call one peer and print a report as JSON (started by the other commands)
    Drive(DriveArgs),
}

/// Runs the command that the command line selects.
///
/// # Errors
///
/// Returns an error if the command fails or if any measurement failed.
pub fn run(allocations: Allocations) -> Result<(), BenchError> {
    let cli = Cli::parse();
    allow_many_files()?;
    match cli.command {
        Command::Compare(args) => args.run(),
        Command::Scale(args) => args.run(),
        Command::Plot(args) => args.run(),
        Command::Serve(args) => args.run(allocations),
        Command::Drive(args) => args.run(allocations),
    }
}

/// Raises the limit on open files to the hard limit, for this process and its child processes.
fn allow_many_files() -> Result<(), BenchError> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    Ok(setrlimit(Resource::Nofile, raised)?)
}
