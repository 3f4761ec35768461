//! Measures agentwire beside its peers; see the library's page.

use agentwire_benches::{Failure, run};

fn main() -> Result<(), Failure> {
    run(None)
}
