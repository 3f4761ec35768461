//! The command-line program with an allocator that counts.
//!
//! A separate program, because counting takes time even while the count is not read. `compare` runs
//! it to count allocations, and reports if it has not been built.

use agentwire_benches::{BenchError, run};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

fn main() -> Result<(), BenchError> {
    let _profiler = dhat::Profiler::builder()
        .testing()
        .trim_backtraces(Some(4))
        .build();
    run(Some(|| dhat::HeapStats::get().total_blocks))
}
