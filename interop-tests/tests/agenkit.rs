//! Rust and the package agenkit from PyPI call each other.
//!
//! A case that agenkit cannot pass is an ignored test, which names its reason.

use agentwire_interop_tests::{
    PythonPeer, TestResult, Wire, expect_that, python_calls_rust, rust_calls_python,
    script_command, test_cases,
};

mod rust_calls_agenkit {
    use super::*;

    test_cases! {
        over_unix: rust_calls_python(PythonPeer::Agenkit, Wire::JSON_OVER_UNIX);
        over_tcp: rust_calls_python(PythonPeer::Agenkit, Wire::JSON_OVER_TCP);
        over_websocket: rust_calls_python(PythonPeer::Agenkit, Wire::JSON_OVER_WEBSOCKET);
        => [text] [values] metadata unknown_method wrong_type
        #[ignore = "agenkit's server answers with INTERNAL_ERROR and closes the connection (PROTOCOL 11)"]
        bad_json_keeps_connection
        server_restart [rust]
    }

    #[test]
    #[ignore = "agenkit supports only JSON"]
    fn every_case_in_msgpack() {}
}

// The cases with raw frames write their frames themselves. agenkit's client takes no part in them,
// and `python_calls_rust` contains them.
mod agenkit_calls_rust {
    use super::*;

    test_cases! {
        over_unix: python_calls_rust(PythonPeer::Agenkit, Wire::JSON_OVER_UNIX);
        over_tcp: python_calls_rust(PythonPeer::Agenkit, Wire::JSON_OVER_TCP);
        over_websocket: python_calls_rust(PythonPeer::Agenkit, Wire::JSON_OVER_WEBSOCKET);
        => [text] [values] metadata server_restart
    }

    #[test]
    #[ignore = "agenkit supports only JSON"]
    fn every_case_in_msgpack() {}
}

/// The tests name one version of agenkit. Another version may behave differently.
#[test]
fn the_version_of_agenkit_is_the_one_in_the_requirements() -> TestResult {
    let requirements = include_str!("../python/requirements.txt");
    let mut command = script_command("versions.py", &["agenkit"])?;
    let installed = String::from_utf8_lossy(&command.output()?.stdout).into_owned();
    let wanted = format!("agenkit=={}", installed.trim());
    expect_that(
        requirements.lines().any(|line| line.starts_with(&wanted)),
        || format!("installed: {installed:?}, required: {requirements:?}"),
    )
}
