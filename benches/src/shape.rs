//! The number and size of the calls in a measurement.

use clap::Args;
use serde::{Deserialize, Serialize};

/// The number of connections, the number of concurrent calls, and the size of the calls in a
/// measurement.
#[derive(Debug, Clone, Copy, PartialEq, Args, Serialize, Deserialize)]
pub(crate) struct Shape {
    /// The number of connections
    #[arg(long, default_value_t = 1)]
    pub(crate) connections: usize,
    /// The number of calls in flight on each connection
    #[arg(long, default_value_t = 1)]
    pub(crate) in_flight: usize,
    /// The size of the text of each message, in bytes
    #[arg(long, default_value_t = 64)]
    pub(crate) size: usize,
    /// Request streams instead of single replies
    #[arg(long)]
    pub(crate) stream: bool,
    /// Use one client object per connection, so that each caller keeps its connection
    #[arg(long)]
    pub(crate) separate: bool,
}

impl Shape {
    /// Creates a shape for calls with 64 bytes of text.
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

    /// Returns the command-line arguments of `drive`.
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

/// The number of chunks in a stream.
pub(crate) const CHUNKS: usize = 1000;
