//! Usage errors.

use crate::program::{run, run_with_input};

#[tokio::test]
async fn usage_errors_exit_with_2_and_one_line() {
    let cases: &[&[&str]] = &[
        &["dance"],
        &["-v"],
        &["--loud"],
        &["serve"],
        &["serve", "nowhere"],
        &["serve", "gopher://localhost:70"],
        &["serve", "memory://here"],
        &["serve", "tcp://localhost:0", "--agent", "parrot"],
        &["serve", "tcp://localhost:0", "--agent", "slow:soon"],
        &["call", "tcp://localhost:1"],
        &["call", "tcp://localhost", "--text", "x"],
        &["call", "tcp://localhost:0", "--text", "x"],
        &["call", "hello"],
        &["call", "tcp://localhost:1", "x", "y"],
        &["call", "tcp://localhost:1", "x", "--raw", "--json"],
        &["call", "memory://here", "--text", "x"],
        &["call", "tcp://localhost:1", "--text", "x", "--content", "1"],
        &["call", "tcp://localhost:1", "--content", "{\n\n"],
        &["call", "tcp://localhost:1", "--content", ""],
        &[
            "call",
            "tcp://localhost:1",
            "--text",
            "x",
            "--metadata",
            "[]",
        ],
        &[
            "call",
            "tcp://localhost:1",
            "--text",
            "x",
            "--timeout",
            "soon",
        ],
        &["call", "tcp://localhost:1", "--text", "x", "--role", ""],
        &["call", "--registry", "tcp://localhost:1", "--text", "x"],
        &["call", "--name", "weather", "--text", "x"],
        &[
            "call",
            "tcp://localhost:1",
            "--registry",
            "tcp://localhost:1",
            "--name",
            "weather",
            "--text",
            "x",
        ],
        &[
            "call",
            "--registry",
            "nowhere",
            "--name",
            "weather",
            "--text",
            "x",
        ],
        &[
            "call",
            "--registry",
            "tcp://localhost:1",
            "--name",
            "",
            "--text",
            "x",
        ],
        &["call", "tcp://local\n\nhost:1", "--text", "x"],
        &["stream", "tcp://localhost:1"],
        &["proxy", "tcp://localhost:0"],
        &["proxy", "tcp://localhost:0", "tcp://localhost:0"],
        &["recode", "--from", "xml"],
        &["registry", "dance"],
        &["registry", "serve"],
        &["registry", "serve", "memory://here"],
        &["registry", "serve", "tcp://localhost:0", "--lease", "0s"],
        &["registry", "list"],
        &["registry", "list", "tcp://localhost:0"],
        &["registry", "lookup", "tcp://localhost:1"],
        &[
            "registry",
            "find",
            "tcp://localhost:1",
            "--version",
            "newest",
        ],
        &["registry", "find", "tcp://localhost:1", "--metadata", "[]"],
        &["serve", "tcp://localhost:0", "--registry", "memory://here"],
        &["serve", "tcp://localhost:0", "--advertise", "tcp://h:1"],
        &["completions", "cmd"],
        &["completions"],
        &["man", "page"],
    ];
    for args in cases {
        let outcome = run(*args).await;
        let error = outcome.error(2);
        assert!(error.len() > 10, "{args:?}: {error}");
        assert!(
            !error.contains("Usage:") && !error.contains("error:"),
            "{args:?}: {error}"
        );
        // No command can use such an endpoint.
        assert!(!error.contains("memory://name"), "{args:?}: {error}");
        assert!(outcome.stdout.is_empty(), "{args:?}");
    }
}

#[tokio::test]
async fn errors_of_unknown_and_missing_arguments_name_the_help_of_their_command() {
    for (args, help) in [
        (&["dance"][..], "`agentwire --help`"),
        (
            &["call", "tcp://localhost:1", "--loud"],
            "`agentwire call --help`",
        ),
        (&["registry", "dance"], "`agentwire registry --help`"),
        (&["registry", "list"], "`agentwire registry list --help`"),
        (&["completions"], "`agentwire completions --help`"),
    ] {
        let outcome = run(args).await;
        let error = outcome.error(2);
        assert!(error.contains(help), "{args:?}: {error}");
    }
}

#[tokio::test]
async fn content_from_standard_input_that_is_not_json_exits_with_2() {
    for input in ["", "{", "1 2", "\u{feff}1", "hello"] {
        let args = ["call", "tcp://localhost:1", "--content", "-"];
        let outcome = run_with_input(args, input.as_bytes()).await;
        assert!(outcome.error(2).contains("standard input"), "{outcome:?}");
    }
}

#[tokio::test]
async fn usage_errors_name_the_problem() {
    let cases: &[(&[&str], &str)] = &[
        (&["serve", "nowhere"], "does not begin with a scheme"),
        (
            &["serve", "tcp://localhost:0", "--agent", "parrot"],
            "use echo, slow:MS, fail or count:N",
        ),
        (
            &["call", "tcp://localhost:1"],
            "--text <TEXT>|--content <JSON>",
        ),
        (&["call", "tcp://localhost:1", "--txt", "x"], "--text"),
        (
            &[
                "call",
                "tcp://localhost:1",
                "--text",
                "x",
                "--metadata",
                "[]",
            ],
            "expected a JSON object",
        ),
        (
            &["call", "tcp://localhost:1", "--content", "{"],
            "at byte 1",
        ),
        (
            &[
                "call",
                "tcp://localhost:1",
                "--text",
                "x",
                "--timeout",
                "30",
            ],
            "500ms",
        ),
    ];
    for (args, expected) in cases {
        let outcome = run(*args).await;
        assert!(outcome.error(2).contains(expected), "{outcome:?}");
    }
}
