//! The options `--auth`, `--token` and `--token-file`, and the command `token`.

use std::{fs, os::unix::fs::PermissionsExt};

use agentwire::auth::TokenDigest;
use agentwire_codec::Value;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::program::{Finished, Running, Server, finish, parse_lines, program, run};

/// A directory with an auth file and a record.
struct Files {
    directory: TempDir,
}

impl Files {
    /// Creates the file of a few principals without a namespace.
    fn new() -> Self {
        let principals = [
            ("alice", "agent-consumer"),
            ("robot", "agent-full"),
            ("viewer", "observer"),
        ];
        let entries = principals.map(|(name, role)| principal(name, role, ""));
        Self::with_auth(&entries.concat())
    }

    fn with_auth(text: &str) -> Self {
        let files = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        fs::write(files.path("auth.toml"), text).unwrap();
        files
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    /// Starts a server with these files.
    async fn serve(&self, args: &[&str]) -> Server {
        let (auth, audit) = (self.path("auth.toml"), self.path("audit.jsonl"));
        Server::start([args, &["--auth", &auth, "--audit", &audit]].concat()).await
    }

    /// Returns the record of a server that has ended.
    fn records(&self) -> Vec<Value> {
        parse_lines(&fs::read_to_string(self.path("audit.jsonl")).unwrap())
    }
}

/// Returns the entry of a principal in an auth file.
fn principal(name: &str, role: &str, more: &str) -> String {
    let digest = TokenDigest::of(&token(name)).to_hex();
    format!(
        "[[principal]]\nname = \"{name}\"\nroles = [\"{role}\"]\n\
         token_sha256 = \"{digest}\"\n{more}\n"
    )
}

fn in_namespace(namespace: &str) -> String {
    format!("namespace = \"{namespace}\"")
}

fn token(name: &str) -> String {
    format!("the-token-of-{name}")
}

/// Runs a command with the token of a principal.
async fn run_as(name: &str, args: &[&str]) -> Finished {
    run([args, &["--token", &token(name)]].concat()).await
}

#[track_caller]
fn assert_denied(finished: &Finished, code: &str) {
    let error = finished.error(1);
    assert!(error.contains(code), "{error}");
    assert!(!error.contains("the-token"), "{error}");
}

/// Returns all that a run has printed. `ping` prints the text of an error with the first ping that
/// has it.
fn said(finished: &Finished) -> String {
    let stdout = String::from_utf8_lossy(&finished.stdout);
    format!("{stdout}{}", finished.stderr)
}

#[tokio::test]
async fn every_command_needs_a_token_and_a_permission() {
    let files = Files::new();
    let server = files
        .serve(&["serve", "tcp://127.0.0.1:0", "--agent", "count:2"])
        .await;
    let endpoint = &*server.endpoint;
    for command in [
        &["call", endpoint, "hello"][..],
        &["stream", endpoint, "hello"],
        &["execute", endpoint, "tool"],
        &["ping", endpoint],
        &["describe", endpoint],
    ] {
        let without = run(command).await;
        assert_denied(&without, "UNAUTHENTICATED");
        assert!(
            said(&without).contains("A credential is required; pass a token with "),
            "{without:?}"
        );
        let wrong = run_as("mallory", command).await;
        assert_denied(&wrong, "UNAUTHENTICATED");
        assert!(
            said(&wrong).contains("The credential is not valid"),
            "{wrong:?}"
        );
    }
    for command in [
        &["call", endpoint, "hello"][..],
        &["stream", endpoint, "hello"],
        &["execute", endpoint, "tool"],
    ] {
        assert_denied(&run_as("viewer", command).await, "PERMISSION_DENIED");
    }
    run_as("viewer", &["ping", endpoint]).await.success();
    run_as("viewer", &["describe", endpoint]).await.success();
    run_as("alice", &["call", endpoint, "hello"])
        .await
        .success();
    let chunks = run_as("alice", &["stream", endpoint, "hello"]).await;
    assert_eq!(chunks.success().lines().count(), 2);
    let bench = ["bench", endpoint, "-n", "20"];
    run_as("alice", &bench).await.success();
    // There is no such tool, but alice may ask for it.
    assert_denied(
        &run_as("alice", &["execute", endpoint, "tool"]).await,
        "NOT_FOUND",
    );
    server.running.send(Signal::TERM);
    assert_eq!(server.running.end().await.code, 0);

    let records = files.records();
    let text = fs::read_to_string(files.path("audit.jsonl")).unwrap();
    assert!(!text.contains("the-token"), "{text}");
    let count = |event: &str, outcome: &str, principal: Option<&str>| {
        let matching = records.iter().filter(|record| {
            record["event"].as_str() == Some(event)
                && record["outcome"].as_str() == Some(outcome)
                && record.get("principal").and_then(Value::as_str) == principal
        });
        matching.count()
    };
    // `ping` and `bench` send several requests.
    assert!(count("authentication", "denied", None) >= 10);
    assert_eq!(count("authorization", "denied", Some("viewer")), 3);
    assert!(count("authorization", "allowed", Some("viewer")) >= 2);
    assert!(count("authorization", "allowed", Some("alice")) >= 23);
}

#[tokio::test]
async fn a_token_comes_from_an_option_a_file_or_the_environment() {
    let files = Files::new();
    let server = files.serve(&["serve", "tcp://127.0.0.1:0"]).await;
    let call = ["call", &server.endpoint, "hello"];
    let with_variable = |value: &str, more: &[&str]| {
        let mut command = program([&call[..], more].concat());
        command.env("AGENTWIRE_TOKEN", value);
        finish(command)
    };
    with_variable(&token("alice"), &[]).await.success();
    assert_denied(&with_variable("", &[]).await, "UNAUTHENTICATED");
    assert_denied(
        &with_variable(&token("mallory"), &[]).await,
        "UNAUTHENTICATED",
    );
    with_variable("wrong", &["--token", &token("alice")])
        .await
        .success();
    let file = files.path("token");
    fs::write(&file, format!("{}\n", token("alice"))).unwrap();
    with_variable("wrong", &["--token-file", &file])
        .await
        .success();
    run([&call[..], &["--token-file", &file]].concat())
        .await
        .success();
    for (path, problem) in [
        (files.path("none"), "No such file"),
        (files.path("empty"), "is empty"),
    ] {
        fs::write(files.path("empty"), "\n").unwrap();
        let unusable = run([&call[..], &["--token-file", &path]].concat()).await;
        let error = unusable.error(2);
        assert!(error.contains(&path) && error.contains(problem), "{error}");
    }
}

#[tokio::test]
async fn a_token_is_not_sent_unencrypted_to_another_machine() {
    for command in [
        &["call", "tcp://192.0.2.1:7000", "hello"][..],
        &["ping", "tcp://192.0.2.1:7000"],
        &["registry", "list", "tcp://192.0.2.1:7000"],
        &[
            "call",
            "--registry",
            "tcp://192.0.2.1:7000",
            "--name",
            "a",
            "hello",
        ],
        &["proxy", "tcp://127.0.0.1:0", "tcp://192.0.2.1:7000"],
    ] {
        let refused = run_as("alice", command).await;
        let error = refused.error(2);
        assert!(error.contains("--allow-plaintext-token"), "{error}");
        assert!(!error.contains("allow_plaintext_credentials"), "{error}");
    }
    // The address is reserved for documentation, so nothing answers.
    let args = [
        "ping",
        "tcp://192.0.2.1:7000",
        "--timeout",
        "1ms",
        "--allow-plaintext-token",
    ];
    assert_ne!(run_as("alice", &args).await.code, 2);
}

#[tokio::test]
async fn a_token_for_a_socket_that_others_can_replace_is_sent_with_a_warning() {
    let files = Files::new();
    let open = |mode| {
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(files.directory.path(), mode).unwrap();
    };
    open(0o755);
    let server = files
        .serve(&["serve", &format!("unix://{}", files.path("a.sock"))])
        .await;
    let call = ["call", &server.endpoint, "hello", "-v"];
    for (mode, is_warned) in [(0o755, false), (0o777, true), (0o1777, true), (0o775, true)] {
        open(mode);
        let finished = run_as("alice", &call).await;
        assert_eq!(finished.code, 0, "{finished:?}");
        let text = "other users can write to the directory of the socket";
        assert_eq!(
            finished.stderr.contains(text),
            is_warned,
            "{mode:o}: {finished:?}"
        );
    }
}

#[tokio::test]
async fn a_wrong_auth_file_stops_the_start_with_its_line() {
    let digest = "0".repeat(64);
    for (text, line, problem) in [
        ("principal = 7", 1, "invalid type"),
        ("\n[[principals]]\n", 2, "unknown field `principals`"),
        (
            "[[principal]]\nname = \"a\"\npassword = \"x\"\n",
            3,
            "unknown field `password`",
        ),
        (
            "[[principal]]\nname = \"a\"\ntoken_sha256 = \"abc\"\n",
            3,
            "64 hexadecimal digits",
        ),
        ("[[principal]]\nname = \"a\"\nuid = 65534\n", 3, "65534"),
        (
            "[[principal]]\nname = \"a\"\nuid = 1\nroles = [\"king\"]\n",
            4,
            "unknown role \"king\"",
        ),
        (
            "[quota]\nstreams = 1\nrequests_per_hour = 1\n",
            3,
            "unknown field `requests_per_hour`",
        ),
        (
            "[[role]]\nname = \"r\"\nallow = [{ verbs = [\"fly\"] }]\n",
            3,
            "unknown verb \"fly\"",
        ),
        ("[jwt]\nissuer = \"i\"\n", 1, "missing field"),
        ("x = ", 1, ""),
    ] {
        let files = Files::with_auth(&text.replace("DIGEST", &digest));
        let path = files.path("auth.toml");
        for command in [
            &["serve", "tcp://127.0.0.1:0"][..],
            &["proxy", "tcp://127.0.0.1:0", "tcp://127.0.0.1:1"],
            &["registry", "serve", "tcp://127.0.0.1:0"],
        ] {
            let refused = run([command, &["--auth", &path]].concat()).await;
            let error = refused.error(2);
            assert!(
                error.starts_with(&format!("{path}:{line}: ")),
                "{text:?}: {error}"
            );
            assert!(error.contains(problem), "{text:?}: {error}");
        }
    }
    let missing = run(["serve", "tcp://127.0.0.1:0", "--auth", "/none/auth.toml"]).await;
    assert!(
        missing.error(2).contains("/none/auth.toml: cannot be read"),
        "{missing:?}"
    );
    let audit = ["serve", "tcp://127.0.0.1:0", "--audit", "/none/audit.jsonl"];
    let missing = run(audit).await;
    assert!(
        missing.error(2).contains("--audit /none/audit.jsonl: "),
        "{missing:?}"
    );
}

#[tokio::test]
async fn a_changed_auth_file_applies_at_once_unless_it_is_wrong() {
    let files = Files::new();
    let mut server = files.serve(&["serve", "tcp://127.0.0.1:0"]).await;
    let endpoint = server.endpoint.clone();
    run_as("alice", &["call", &endpoint, "hello"])
        .await
        .success();
    let path = files.path("auth.toml");
    let good = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{good}\n[qota]\n")).unwrap();
    let warning = server.running.error_line().await;
    assert!(
        warning.contains("changed auth file has an error"),
        "{warning}"
    );
    assert!(warning.contains("unknown field `qota`"), "{warning}");
    run_as("alice", &["call", &endpoint, "hello"])
        .await
        .success();
    let digest = TokenDigest::of(&token("alice")).to_hex();
    fs::write(&path, good.replace(&digest, &"0".repeat(64))).unwrap();
    while run_as("alice", &["call", &endpoint, "hello"]).await.code == 0 {}
    server.running.send(Signal::TERM);
    assert_eq!(server.running.end().await.code, 0);
    let records = files.records();
    let changes = records
        .iter()
        .filter(|record| record["event"].as_str() == Some("policy_change"));
    let outcomes: Vec<_> = changes
        .map(|record| record["outcome"].as_str().unwrap())
        .collect();
    assert_eq!(outcomes, ["denied", "allowed"]);
}

#[tokio::test]
async fn a_registry_knows_who_registers_and_who_reads() {
    let files = Files::new();
    let auth = files.path("auth.toml");
    let prod = principal("prod", "agent-full", &in_namespace("prod"));
    fs::write(&auth, fs::read_to_string(&auth).unwrap() + &prod).unwrap();
    let registry = files
        .serve(&["registry", "serve", "tcp://127.0.0.1:0"])
        .await;
    let url = &*registry.endpoint;
    let serve = ["serve", "tcp://127.0.0.1:0", "--registry", url, "--name"];
    let robot = token("robot");
    let args = [&serve[..], &["parrot", "--token", &robot]].concat();
    let mut agent = Running::start(args);
    agent.line().await;
    assert!(agent.line().await.starts_with("registered parrot"));
    for (name, code) in [
        ("mallory", "UNAUTHENTICATED"),
        ("viewer", "PERMISSION_DENIED"),
    ] {
        let token = token(name);
        let args = [&serve[..], &["crow", "--token", &token]].concat();
        let mut refused = Running::start(args);
        refused.line().await;
        assert_denied(&refused.end().await, code);
    }
    for command in [
        &["registry", "list", url][..],
        &["registry", "lookup", url, "parrot"],
        &["registry", "find", url],
        &["registry", "watch", url],
        &["call", "--registry", url, "--name", "parrot", "hello"],
        &["describe", "--registry", url, "--name", "parrot"],
    ] {
        assert_denied(&run(command).await, "UNAUTHENTICATED");
    }
    let names = |listed: &Finished| -> Vec<String> {
        let names = listed.messages().into_iter();
        names
            .map(|one| one["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let list = ["registry", "list", url, "--json"];
    assert_eq!(names(&run_as("viewer", &list).await), ["parrot"]);
    // Another namespace.
    assert!(names(&run_as("prod", &list).await).is_empty());
    let call = ["call", "--registry", url, "--name", "parrot", "hello"];
    run_as("alice", &call).await.success();
    agent.send(Signal::TERM);
    agent.end().await.success();
}

#[tokio::test]
async fn a_proxy_checks_tokens_and_sends_its_own() {
    let files = Files::new();
    let target = files.serve(&["serve", "tcp://127.0.0.1:0"]).await;
    let own = token("robot");
    let auth = files.path("auth.toml");
    let proxy = [
        "proxy",
        "tcp://127.0.0.1:0",
        &target.endpoint,
        "--token",
        &own,
    ];
    let proxy = Server::start([&proxy[..], &["--auth", &auth]].concat()).await;
    let call = ["call", &proxy.endpoint, "hello"];
    assert_denied(&run(call).await, "UNAUTHENTICATED");
    assert_denied(&run_as("viewer", &call).await, "PERMISSION_DENIED");
    run_as("alice", &call).await.success();
    target.running.send(Signal::TERM);
    assert_eq!(target.running.end().await.code, 0);
    let principals: Vec<_> = files.records();
    let principals = principals
        .iter()
        .map(|record| record["principal"].as_str().unwrap());
    assert!(principals.eq(["robot"; 2]));
}

#[tokio::test]
async fn a_new_token_and_its_digest_belong_together() {
    let lines = |printed: &Finished| -> Vec<String> {
        let values = printed.success().lines().map(|line| {
            let value = line.split_once(" = ").unwrap().1;
            value.trim_matches('"').to_owned()
        });
        values.collect()
    };
    let [first, second] = [run(["token"]).await, run(["token"]).await].map(|new| lines(&new));
    assert_eq!(TokenDigest::of(&first[0]).to_hex(), first[1]);
    assert_ne!(first, second);
    assert!(first[0].len() >= 43);
}

#[tokio::test]
async fn a_server_belongs_to_the_namespace_of_its_principals() {
    let serve = ["serve", "tcp://127.0.0.1:0"];
    let both = principal("prod", "agent-consumer", &in_namespace("prod"))
        + &principal("test", "agent-consumer", &in_namespace("test"));
    let files = Files::with_auth(&both);
    let auth = files.path("auth.toml");
    let ambiguous = run([&serve[..], &["--auth", &auth]].concat()).await;
    let error = ambiguous.error(2);
    assert!(
        error.contains("several namespaces; give --namespace"),
        "{error}"
    );
    let server = files
        .serve(&[&serve[..], &["--namespace", "prod"]].concat())
        .await;
    let call = ["call", &server.endpoint, "hello"];
    run_as("prod", &call).await.success();
    assert_denied(&run_as("test", &call).await, "PERMISSION_DENIED");
    // With one namespace, nothing has to be said. Principals that are added later are denied.
    let files = Files::with_auth(&principal("prod", "agent-consumer", &in_namespace("prod")));
    let server = files.serve(&serve).await;
    let call = ["call", &server.endpoint, "hello"];
    run_as("prod", &call).await.success();
    fs::write(files.path("auth.toml"), &both).unwrap();
    loop {
        let refused = run_as("test", &call).await;
        if refused.stderr.contains("PERMISSION_DENIED") {
            break;
        }
        assert_denied(&refused, "UNAUTHENTICATED");
    }
    // So are those that a file without namespaces gets later.
    let plain = principal("plain", "agent-consumer", "");
    let files = Files::with_auth(&plain);
    let server = files.serve(&serve).await;
    let call = ["call", &server.endpoint, "hello"];
    run_as("plain", &call).await.success();
    fs::write(files.path("auth.toml"), plain + &both).unwrap();
    loop {
        let refused = run_as("test", &call).await;
        if refused.stderr.contains("PERMISSION_DENIED") {
            break;
        }
        assert_denied(&refused, "UNAUTHENTICATED");
    }
}
