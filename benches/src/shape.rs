//! The shape of the calls in a measurement.

use clap::Args;
use serde::{Deserialize, Serialize};

/// How many calls a client makes at a time, over how many connections, and how large they are.
#[derive(Debug, Clone, Copy, PartialEq, Args, Serialize, Deserialize)]
pub(crate) struct Shape {
    /// How many connections to open
    #[arg(long, default_value_t = 1)]
    pub(crate) connections: usize,
    /// How many calls to keep in flight on each connection
    #[arg(long, default_value_t = 1)]
    pub(crate) in_flight: usize,
    /// How many bytes of text each message has
    #[arg(long, default_value_t = 64)]
    pub(crate) size: usize,
    /// Request streams instead of single answers
    #[arg(long)]
    pub(crate) stream: bool,
    /// Use one client object per connection, so that each caller keeps its connection
    #[arg(long)]
    pub(crate) separate: bool,
}

impl Shape {
    /// Calls with 64 bytes of text.
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

    /// Returns the arguments of `drive`.
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

/// How many chunks a stream has.
pub(crate) const CHUNKS: usize = 1000;
