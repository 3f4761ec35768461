use clap::{Parser, Subcommand};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{
    Allocations, Failure, client::DriveArgs, compare::CompareArgs, plot::PlotArgs,
    scale::ScaleArgs, server::ServeArgs,
};

#[derive(Parser)]
#[command(
    name = "agentwire-benches",
    about = "What agentwire costs, beside its peers"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Compare all peers and print a table
    Compare(CompareArgs),
    /// Measure how throughput, latency, fairness and memory change with the number of connections
    Scale(ScaleArgs),
    /// Make the plots and the tables of the documentation from what was recorded
    Plot(PlotArgs),
    /// Serve one peer until standard input ends; the others run this
    Serve(ServeArgs),
    /// Call one peer and print what it took, as JSON; the others run this
    Drive(DriveArgs),
}

/// Runs the command line.
///
/// # Errors
///
/// Whatever keeps it from measuring.
pub fn run(allocations: Allocations) -> Result<(), Failure> {
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

/// As many open files as the system lets this process have; its children inherit it.
fn allow_many_files() -> Result<(), Failure> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    Ok(setrlimit(Resource::Nofile, raised)?)
}
