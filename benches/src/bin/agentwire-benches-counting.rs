//! The command-line program with an allocator that counts allocations.
//!
//! This is a separate program because counting takes time even if the count is never read. The
//! command `compare` runs this program to count allocations, and reports if the program has not
//! been built.

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
