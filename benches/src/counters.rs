//! What the system counts for a process.

use std::{fs, time::Duration};

use crate::BenchError;

/// Returns how often this process has allocated so far; `None` if its allocator does not count.
pub type Allocations = Option<fn() -> u64>;

/// Returns the CPU time of a process, in user and system mode.
pub(crate) fn cpu_time(pid: u32) -> Result<Duration, BenchError> {
    let mut total = 0;
    // In nanoseconds, for each thread. Threads that have exited are missing; ours do not exit.
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
