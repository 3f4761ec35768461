//! Searches everything that the program writes for credentials.

use std::fs;

use agentwire::auth::TokenDigest;
use rustix::process::Signal;

use crate::program::{Finished, Server, finish, program};

/// The token of the only principal. It has no part that appears elsewhere.
const TOKEN: &str = "hunter2-OMEGA-hunter2";
/// A token that nobody has.
const WRONG: &str = "wrong2-OMEGA-wrong2";

#[tokio::test]
async fn no_log_record_or_error_contains_a_credential() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let (auth, audit, file) = (path("auth.toml"), path("audit.jsonl"), path("token"));
    let digest = TokenDigest::of(TOKEN).to_hex();
    let principal = format!(
        "[[principal]]\nname = \"alice\"\nroles = [\"agent-full\"]\ntoken_sha256 = \"{digest}\"\n"
    );
    fs::write(&auth, principal).unwrap();
    fs::write(&file, TOKEN).unwrap();
    let start = async |args: &[&str]| {
        let secured = ["--auth", &auth, "--audit", &audit, "-vvv"];
        Server::start([args, &secured].concat()).await
    };
    let registry = Server::start([
        "registry",
        "serve",
        "tcp://127.0.0.1:0",
        "--auth",
        &auth,
        "-vvv",
    ])
    .await;
    let url = &*registry.endpoint;
    let mut agent = start(&[
        "serve",
        "tcp://127.0.0.1:0",
        "--registry",
        url,
        "--token-file",
        &file,
    ])
    .await;
    assert!(agent.running.line().await.starts_with("registered "));
    let target = &*agent.endpoint;
    let proxy_args = ["proxy", "tcp://127.0.0.1:0", target, "--token-file", &file];
    let proxy = Server::start([&proxy_args[..], &["--auth", &auth, "-vvv"]].concat()).await;

    let mut texts: Vec<(String, String)> = Vec::new();
    let mut keep = |what: String, finished: Finished| {
        texts.push((
            format!("{what}: standard output"),
            String::from_utf8_lossy(&finished.stdout).into_owned(),
        ));
        texts.push((format!("{what}: standard error"), finished.stderr));
    };
    for endpoint in [target, &proxy.endpoint] {
        for token in [TOKEN, WRONG] {
            for command in [
                &["call", endpoint, "hello"][..],
                &["stream", endpoint, "hello"],
                &["execute", endpoint, "tool"],
                &["describe", endpoint],
                &["ping", endpoint],
                &["bench", endpoint, "-n", "2"],
                &["registry", "list", url],
                &["registry", "lookup", url, "echo"],
                &["call", "--registry", url, "--name", "echo", "hello"],
                // The token in a wrong place.
                &["call", "tcp://127.0.0.1:1", "hello"],
                &["call", endpoint, "hello", "--timeout", "1ns"],
            ] {
                let mut given = program(command);
                given.args(["-vvv", "--token", token]);
                keep(command.join(" "), finish(given).await);
                let mut variable = program(command);
                variable.arg("-vvv").env("AGENTWIRE_TOKEN", token);
                keep(command.join(" "), finish(variable).await);
            }
        }
        for help in [&["call", "--help"][..], &["serve", "--help"]] {
            let mut command = program(help);
            command.env("AGENTWIRE_TOKEN", TOKEN);
            keep(help.join(" "), finish(command).await);
        }
    }
    // A credential in the message itself, as Python programs send it.
    for key in ["authorization", "token", "api_key"] {
        let metadata = match key {
            "authorization" => format!("{{\"{key}\": \"Bearer {TOKEN}\"}}"),
            _ => format!("{{\"{key}\": \"{TOKEN}\"}}"),
        };
        let mut command = program(["call", target, "hello", "--metadata", &metadata, "--raw"]);
        command.arg("-vvv");
        keep(format!("call with {key}"), finish(command).await);
    }
    // A token in place of its digest, and an unknown key.
    for wrong in [
        format!("[[principal]]\nname = \"a\"\ntoken_sha256 = \"{TOKEN}\"\n"),
        format!("[[principal]]\nname = \"a\"\ntoken = \"{TOKEN}\"\n"),
        format!("token_sha256 = {TOKEN}\n"),
        format!("[[principal]]\nname = \"a\"\nuid = \"{TOKEN}\"\n"),
    ] {
        let path = path("wrong.toml");
        fs::write(&path, &wrong).unwrap();
        let command = program(["serve", "tcp://127.0.0.1:0", "--auth", &path, "-vvv"]);
        keep("a wrong auth file".to_owned(), finish(command).await);
    }
    for (what, server) in [("proxy", proxy), ("agent", agent), ("registry", registry)] {
        server.running.send(Signal::TERM);
        keep(what.to_owned(), server.running.end().await);
    }
    texts.push(("audit".to_owned(), fs::read_to_string(&audit).unwrap()));

    let all: usize = texts.iter().map(|(_, text)| text.len()).sum();
    assert!(all > 10_000, "the logs have {all} bytes");
    for (what, text) in texts {
        for secret in ["OMEGA", &*digest] {
            let line = text.lines().find(|line| line.contains(secret));
            assert_eq!(line, None, "{what}");
        }
    }
}
