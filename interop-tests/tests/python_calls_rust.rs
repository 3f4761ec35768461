//! Python calls the interop agent in Rust.

use agentwire_interop_tests::{
    PythonPeer, TestResult, Wire, expect, list_cases, python_calls_rust, test_cases, within,
};

test_cases! {
    over_unix: python_calls_rust(PythonPeer::Own, Wire::JSON_OVER_UNIX);
    over_tcp: python_calls_rust(PythonPeer::Own, Wire::JSON_OVER_TCP);
    in_msgpack: python_calls_rust(PythonPeer::Own, Wire::MSGPACK_OVER_UNIX);
    => [shared]
}

#[tokio::test]
async fn these_are_the_cases_of_python() -> TestResult {
    let names = within(list_cases()).await?;
    let shared = test_cases!(names of [shared]);
    expect("the names", names.as_slice(), &shared[..])
}
