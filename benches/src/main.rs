//! The command-line program, which is described in the documentation of the library.

use agentwire_benches::{BenchError, run};

fn main() -> Result<(), BenchError> {
    run(None)
}
