use std::{fs, time::Duration};

use crate::Failure;

/// How often this process has allocated so far, if its allocator counts.
pub type Allocations = Option<fn() -> u64>;

/// The time that a process has spent on a CPU, its own code and the system's for it.
pub(crate) fn cpu_time(pid: u32) -> Result<Duration, Failure> {
    let mut total = 0;
    // In nanoseconds, for each thread. Those that have ended are left out; none of ours do.
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(thread?.path().join("schedstat"))?;
        let nanoseconds = text.split(' ').next().ok_or("an empty schedstat")?;
        total += nanoseconds.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(total))
}

/// The bytes of memory that a process has, as the system counts them.
pub(crate) fn resident_memory(pid: u32) -> Result<u64, Failure> {
    let text = fs::read_to_string(format!("/proc/{pid}/statm"))?;
    let pages = text.split(' ').nth(1).ok_or("an odd statm")?;
    Ok(pages.parse::<u64>()? * rustix::param::page_size() as u64)
}
