use clap::Args;
use serde::{Deserialize, Serialize};

/// What a client does during one measurement.
#[derive(Debug, Clone, Copy, PartialEq, Args, Serialize, Deserialize)]
pub(crate) struct Shape {
    /// How many connections it opens
    #[arg(long)]
    pub(crate) connections: usize,
    /// How many calls are in flight on each
    #[arg(long)]
    pub(crate) in_flight: usize,
    /// The bytes of text in each message
    #[arg(long)]
    pub(crate) size: usize,
}

/// The shapes of the table: name, shape, and whether both processes share one CPU.
pub(crate) const SHAPES: [(&str, Shape, bool); 6] = [
    ("lone, one CPU", Shape::new(1, 1, 64), true),
    ("lone", Shape::new(1, 1, 64), false),
    ("1 x 64", Shape::new(1, 64, 64), false),
    ("16 x 4", Shape::new(16, 4, 64), false),
    ("64 x 1", Shape::new(64, 1, 64), false),
    ("1 MiB", Shape::new(1, 1, 1024 * 1024), false),
];

impl Shape {
    const fn new(connections: usize, in_flight: usize, size: usize) -> Self {
        Self {
            connections,
            in_flight,
            size,
        }
    }

    pub(crate) fn text(self) -> String {
        "x".repeat(self.size)
    }
}
