//! Benches of agentwire. They live beside this file; `cargo bench -p agentwire-benches` runs them.
