//! What a process holds, to find what it leaks.

use std::fmt;

use tokio::runtime::Handle;

use crate::process::open_files;

/// What a process holds at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holdings {
    /// The number of open file descriptors. Only Linux counts them.
    pub open_files: usize,
    /// The number of tasks of the runtime.
    pub tasks: usize,
    /// The number of allocated bytes.
    pub bytes: usize,
}

impl Holdings {
    /// Returns what this process holds. `bytes` is the number of bytes that its allocator counts.
    #[must_use]
    pub fn of_this_process(bytes: usize) -> Self {
        Self {
            open_files: open_files("self"),
            tasks: Handle::current().metrics().num_alive_tasks(),
            bytes,
        }
    }
}

/// Prints the numbers with their units.
impl fmt::Display for Holdings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            open_files,
            tasks,
            bytes,
        } = self;
        write!(f, "{open_files} descriptors, {tasks} tasks, {bytes} bytes")
    }
}
