//! Help, version, completions and the manual page.

use crate::program::{Running, run};

#[tokio::test]
async fn help_names_every_command_and_exit_code() {
    let outcome = run(["--help"]).await;
    let help = outcome.success();
    for command in COMMANDS {
        assert!(
            help.contains(&format!("\n  {command} ")),
            "{command}: {help}"
        );
    }
    for code in 0..=5 {
        assert!(help.contains(&format!("\n  {code}  ")), "{code}: {help}");
    }
}

#[tokio::test]
async fn without_arguments_the_help_is_printed() {
    for args in [&[][..], &["registry"]] {
        let bare = run::<&str>(args.iter().copied()).await;
        let asked = run(args.iter().copied().chain(["-h"])).await;
        assert_eq!(bare.success(), asked.success());
    }
}

#[tokio::test]
async fn the_help_of_every_command_shows_examples() {
    for command in COMMANDS {
        let outcome = run([command, "--help"]).await;
        let help = outcome.success();
        assert!(
            help.contains("Examples:\n  ") && help.contains(&format!("agentwire {command}")),
            "{help}"
        );
    }
}

#[tokio::test]
async fn the_version_is_that_of_the_package() {
    let expected = format!("agentwire {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(run(["--version"]).await.success(), expected);
}

#[tokio::test]
async fn completions_cover_every_command() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let outcome = run(["completions", shell]).await;
        let script = outcome.success();
        for word in COMMANDS.iter().chain(&["metadata", "timeout"]) {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
}

#[tokio::test]
async fn the_manual_covers_every_command() {
    let outcome = run(["man"]).await;
    let page = outcome.success();
    for expected in [
        ".TH agentwire 1",
        ".SH NAME",
        ".SH OPTIONS",
        ".SH EXAMPLES",
        ".SH \"EXIT STATUS\"",
        "\\-\\-metadata",
    ] {
        assert!(page.contains(expected), "{expected}");
    }
    for command in [
        "serve",
        "list",
        "lookup",
        "find",
        "watch",
        "register",
        "unregister",
        "drain",
    ] {
        let heading = format!(".SH \"AGENTWIRE REGISTRY {}\"\n", command.to_uppercase());
        assert!(page.contains(&heading), "{command}");
    }
    for command in COMMANDS {
        let heading = format!(".SH \"AGENTWIRE {}\"\n", command.to_uppercase());
        assert!(page.contains(&heading), "{command}");
    }
}

#[tokio::test]
async fn a_reader_that_closes_early_is_not_an_error() {
    for args in [&["man"][..], &["completions", "bash"], &["--help"]] {
        let outcome = Running::start(args).end_unread().await;
        outcome.success();
    }
}

const COMMANDS: [&str; 12] = [
    "serve",
    "call",
    "stream",
    "execute",
    "ping",
    "describe",
    "proxy",
    "recode",
    "bench",
    "registry",
    "completions",
    "man",
];
