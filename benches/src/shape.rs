use clap::Args;
use serde::{Deserialize, Serialize};

/// What a client does during one measurement.
#[derive(Debug, Clone, Copy, PartialEq, Args, Serialize, Deserialize)]
pub(crate) struct Shape {
    /// How many connections it opens
    #[arg(long, default_value_t = 1)]
    pub(crate) connections: usize,
    /// How many calls are in flight on each
    #[arg(long, default_value_t = 1)]
    pub(crate) in_flight: usize,
    /// The bytes of text in each message
    #[arg(long, default_value_t = 64)]
    pub(crate) size: usize,
    /// Asks for streams, in place of single answers
    #[arg(long)]
    pub(crate) stream: bool,
    /// Has a client object for each connection, so that each caller keeps the one that it has
    #[arg(long)]
    pub(crate) separate: bool,
}

/// How many chunks a stream has.
pub(crate) const CHUNKS: usize = 1000;

impl Shape {
    /// Calls of 64 bytes of text.
    pub(crate) const fn calls(connections: usize, in_flight: usize) -> Self {
        Self {
            connections,
            in_flight,
            size: 64,
            stream: false,
            separate: false,
        }
    }

    pub(crate) const fn callers(self) -> usize {
        self.connections * self.in_flight
    }

    /// As the client process is told.
    pub(crate) fn args(self) -> Vec<String> {
        let mut args = Vec::new();
        for (name, number) in [
            ("--connections", self.connections),
            ("--in-flight", self.in_flight),
            ("--size", self.size),
        ] {
            args.extend([name.to_owned(), number.to_string()]);
        }
        for (name, set) in [("--stream", self.stream), ("--separate", self.separate)] {
            args.extend(set.then(|| name.to_owned()));
        }
        args
    }
}
