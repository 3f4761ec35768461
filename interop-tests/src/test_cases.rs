//! The macro that defines tests for the cases, and the groups of cases.

/// Defines a test for each combination of a way to run a case and a case.
///
/// ```ignore
/// test_cases! {
///     over_unix: run(Wire::JSON_OVER_UNIX);
///     in_msgpack: run(Wire::MSGPACK_OVER_UNIX);
///     => [text] metadata #[ignore = "takes an hour"] server_restart
/// }
/// ```
///
/// Each way is a module with a test for each case. The test has the name of the case, and returns
/// the result of the function, which gets the name as its last argument. Brackets select a group of
/// cases:
///
/// | group | its cases |
/// |---|---|
/// | `text` | calls and streams of text, which each peer passes |
/// | `values` | contents that are not text |
/// | `raw_frames` | frames that the case writes byte by byte, which only carriers of frames have |
/// | `rust` | behaviour of the Rust client alone |
/// | `shared` | all cases of `call.py`, in its order |
///
/// `test_cases!(names of [shared])` returns the names as an array.
#[macro_export]
macro_rules! test_cases {
    (names of $($cases:tt)+) => {
        $crate::test_cases! { @expand names {} [] $($cases)+ }
    };

    ($($module:ident: $run:ident($($argument:expr),*);)+ => $($cases:tt)+) => {
        $crate::test_cases! { @expand tests { $($module: $run ($($argument),*))+ } [] $($cases)+ }
    };

    // Groups are replaced by their cases, from left to right.
    (@expand $what:ident $ways:tt $done:tt [shared] $($rest:tt)*) => {
        $crate::test_cases! { @expand $what $ways $done
            simple_call unicode structured_content null_content metadata empty_message
            one_mib_message stream_zero stream_one stream_many agent_error error_mid_stream
            no_streaming [raw_frames] sequential_calls concurrent_clients server_restart $($rest)* }
    };
    (@expand $what:ident $ways:tt $done:tt [text] $($rest:tt)*) => {
        $crate::test_cases! { @expand $what $ways $done
            simple_call unicode empty_message one_mib_message stream_zero stream_many agent_error
            error_mid_stream no_streaming sequential_calls concurrent_clients $($rest)* }
    };
    (@expand $what:ident $ways:tt $done:tt [values] $($rest:tt)*) => {
        $crate::test_cases! { @expand $what $ways $done
            structured_content null_content stream_one $($rest)* }
    };
    (@expand $what:ident $ways:tt $done:tt [raw_frames] $($rest:tt)*) => {
        $crate::test_cases! { @expand $what $ways $done
            unknown_method wrong_type bad_json_keeps_connection $($rest)* }
    };
    (@expand $what:ident $ways:tt $done:tt [rust] $($rest:tt)*) => {
        $crate::test_cases! { @expand $what $ways $done
            any_name concurrent_calls deadline dropped_call dropped_stream $($rest)* }
    };
    (@expand $what:ident $ways:tt [$($done:tt)*] $(#[$attribute:meta])* $case:ident $($rest:tt)*) => {
        $crate::test_cases! { @expand $what $ways [$($done)* $(#[$attribute])* $case] $($rest)* }
    };

    (@expand names {} [$($case:ident)*]) => { [$(stringify!($case)),*] };

    (@expand tests { $($module:ident: $run:ident $arguments:tt)+ } $cases:tt) => {
        $(
            mod $module {
                use super::*;
                $crate::test_cases! { @tests $run $arguments $cases }
            }
        )+
    };

    (@tests $run:ident $arguments:tt [$($(#[$attribute:meta])* $case:ident)*]) => {
        $($crate::test_cases! { @test $run $arguments $(#[$attribute])* $case })*
    };

    (@test $run:ident ($($argument:expr),*) $(#[$attribute:meta])* $case:ident) => {
        #[tokio::test]
        $(#[$attribute])*
        async fn $case() -> $crate::TestResult {
            $run($($argument,)* stringify!($case)).await
        }
    };
}
