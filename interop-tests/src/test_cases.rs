//! The macro that defines tests for the cases.

/// Defines a test for each combination of a case and a [`Wire`](crate::Wire). The test has the name
/// of the case and returns the result of `run(wire, case).await`.
///
/// For Python clients, `test_cases!(run)` defines tests for the cases that both languages support,
/// and checks that `call.py` supports exactly these cases. For Rust clients, `test_cases!(run, in
/// Rust)` also defines tests for the cases that Python does not support.
#[macro_export]
macro_rules! test_cases {
    ($run:path, in Rust) => {
        $crate::test_cases! { $run }

        mod in_rust_only {
            use super::*;
            $crate::test_cases! { @each $run:
                any_name
                concurrent_calls
                deadline
                dropped_call
                dropped_stream
            }
        }
    };

    ($run:path) => {
        $crate::test_cases! { @checked $run:
            simple_call
            unicode
            structured_content
            null_content
            metadata
            empty_message
            one_mib_message
            stream_zero
            stream_one
            stream_many
            agent_error
            error_mid_stream
            no_streaming
            unknown_method
            wrong_type
            bad_json_keeps_connection
            sequential_calls
            concurrent_clients
            server_restart
        }
    };

    (@checked $run:path: $($case:ident)*) => {
        $crate::test_cases! { @each $run: $($case)* }

        #[tokio::test]
        async fn these_are_the_cases_of_python() -> $crate::TestResult {
            let names = $crate::within($crate::list_cases()).await?;
            $crate::expect("the names", names.as_slice(), &[$(stringify!($case)),*][..])
        }
    };

    (@each $run:path: $($case:ident)*) => {
        mod over_unix {
            use super::*;
            $crate::test_cases! { @over JSON_OVER_UNIX $run: $($case)* }
        }

        mod over_tcp {
            use super::*;
            $crate::test_cases! { @over JSON_OVER_TCP $run: $($case)* }
        }

        mod in_msgpack {
            use super::*;
            $crate::test_cases! { @over MSGPACK_OVER_UNIX $run: $($case)* }
        }
    };

    (@over $wire:ident $run:path: $($case:ident)*) => {
        $(
            #[tokio::test]
            async fn $case() -> $crate::TestResult {
                $run($crate::Wire::$wire, stringify!($case)).await
            }
        )*
    };
}
