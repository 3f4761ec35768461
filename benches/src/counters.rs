//! Resource usage of processes.

use std::{fs, time::Duration};

use crate::BenchError;

/// A function that returns the number of allocations of this process, or `None` if its allocator
/// does not count them.
pub type Allocations = Option<fn() -> u64>;

/// Returns the user and system CPU time of a process.
pub(crate) fn cpu_time(pid: u32) -> Result<Duration, BenchError> {
    let mut total = 0;
    // `schedstat` contains the CPU time of a thread in nanoseconds. Threads that have exited are
    // not included, but the threads of the measured programs do not exit.
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(thread?.path().join("schedstat"))?;
        let nanoseconds = text.split(' ').next().ok_or("schedstat is empty")?;
        total += nanoseconds.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(total))
}

/// Returns the resident memory of a process, in bytes.
pub(crate) fn resident_memory(pid: u32) -> Result<u64, BenchError> {
    let text = fs::read_to_string(format!("/proc/{pid}/statm"))?;
    let pages = text
        .split(' ')
        .nth(1)
        .ok_or("statm has an unexpected format")?;
    Ok(pages.parse::<u64>()? * rustix::param::page_size() as u64)
}
