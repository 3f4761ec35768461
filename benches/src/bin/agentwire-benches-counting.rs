//! The same program with an allocator that counts.
//!
//! It is a program of its own because counting takes time, also while nobody reads the count. `compare` runs it
//! for the column of allocations, and says so if it has not been built.

use agentwire_benches::{Failure, run};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

fn main() -> Result<(), Failure> {
    let _profiler = dhat::Profiler::builder()
        .testing()
        .trim_backtraces(Some(4))
        .build();
    run(Some(|| dhat::HeapStats::get().total_blocks))
}
