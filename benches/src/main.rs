//! Measures agentwire beside its peers on the same work: `compare` starts a server and a client process for each,
//! in rounds that take turns, and prints one table.

mod compare;
mod drive;
mod peers;
mod process;
mod shape;

use clap::{Parser, Subcommand};

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[derive(Parser)]
#[command(name = "agentwire-benches")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Compare all peers and print a table
    Compare(compare::CompareArgs),
    /// Serve one peer until standard input ends; `compare` runs this
    #[command(hide = true)]
    Serve(drive::ServeArgs),
    /// Call one peer and print what it took, as JSON; `compare` runs this
    #[command(hide = true)]
    Drive(drive::DriveArgs),
}

fn main() -> Result<(), Failure> {
    match Cli::parse().command {
        Command::Compare(args) => args.run(),
        Command::Serve(args) => args.run(),
        Command::Drive(args) => args.run(),
    }
}
