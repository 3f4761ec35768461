//! The command-line program. The library's page describes it.

use agentwire_benches::{BenchError, run};

fn main() -> Result<(), BenchError> {
    run(None)
}
