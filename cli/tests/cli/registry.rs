//! The command `registry`, and registration by `serve`.

use std::time::Duration;

use agentwire::registry::{
    Event, InstanceRef, LocalRegistry, Registration, Registry, RegistryConfig, RegistryServer,
    WatchScope,
};
use agentwire_codec::Value;
use rustix::process::Signal;

use crate::program::{
    GROWING, Running, Server, finish, parse_lines, program, run, stop_signals, within,
};

/// Starts a registry in its own process.
async fn registry(more: &[&str]) -> Server {
    Server::start([&["registry", "serve", "tcp://127.0.0.1:0"], more].concat()).await
}

/// Starts an agent in its own process and waits until it is registered.
async fn agent(registry: &Server, name: &str) -> (Server, String) {
    let args = ["serve", "tcp://127.0.0.1:0", "--name", name];
    let args = [&args[..], &["--registry", &registry.endpoint]].concat();
    let mut server = Server::start(args).await;
    let line = server.running.line().await;
    assert!(line.starts_with("registered "), "{line}");
    // The name is escaped.
    let (_, endpoint) = line.rsplit_once(" at ").expect("the registered endpoint");
    (server, endpoint.to_owned())
}

fn field<'a>(found: &'a Value, key: &str) -> &'a str {
    found[key]
        .as_str()
        .unwrap_or_else(|| panic!("{key}: {found}"))
}

/// Returns a line of `watch` without the time.
fn event(line: &str) -> String {
    let (time, event) = line.split_once("  ").expect("a time");
    assert!(time.starts_with("20") && time.ends_with('Z'), "{line}");
    event.to_owned()
}

#[tokio::test]
async fn registrations_are_made_listed_and_removed() {
    let registry = registry(&["--lease", "1m"]).await;
    let url = &registry.endpoint;
    let (one, two) = ("tcp://198.51.100.1:1", "tcp://198.51.100.1:2");
    let register = ["registry", "register", url, "weather", one, two];
    let about = ["--version", "1.2.3", "--metadata", r#"{"zone": "b"}"#];
    let more = ["--capabilities", r#"{"rain": true}"#];
    let outcome = run([&register[..], &about, &more].concat()).await;
    let expected =
        format!("registered weather at {one}, lease 1m\nregistered weather at {two}, lease 1m\n");
    assert_eq!(outcome.success(), expected);
    let listed = run(["registry", "list", url, "--wide"]).await;
    let lines: Vec<_> = listed.success().lines().collect();
    assert!(lines[0].ends_with("CAPABILITIES    METADATA"), "{lines:?}");
    assert!(
        lines[1].ends_with(r#"{"rain": true}  {"zone": "b"}"#),
        "{lines:?}"
    );
    let unregister = ["registry", "unregister", url, "weather"];
    assert!(run(unregister).await.error(2).contains("2 instances"));
    let gone = run([&unregister[..], &["tcp://198.51.100.1:9"]].concat()).await;
    assert!(gone.error(3).contains("no instance"), "{gone:?}");
    let removed = run([&unregister[..], &[one]].concat()).await;
    assert_eq!(
        removed.success(),
        format!("unregistered weather at {one}\n")
    );
    let drain = [
        "registry", "drain", url, "weather", "--delay", "0s", "--json",
    ];
    let drained = run(drain).await.messages();
    for (line, event) in drained.iter().zip(["draining", "drained"]) {
        assert_eq!(
            (field(line, "event"), field(line, "endpoint")),
            (event, two)
        );
    }
    assert_eq!(drained.len(), 2);
    run(unregister).await.error(3);
}

#[tokio::test]
async fn drain_fails_if_the_instance_is_registered_again() {
    let registry = registry(&[]).await;
    let url = &registry.endpoint;
    let register = [
        "registry",
        "register",
        url,
        "weather",
        "tcp://198.51.100.1:1",
    ];
    run(register).await.success();
    // The test is the agent that registers itself again, so the wait ends only when it has.
    let mut drain = Running::start(["registry", "drain", url, "weather", "--delay", "3s"]);
    assert_eq!(
        drain.line().await,
        "draining weather at tcp://198.51.100.1:1"
    );
    let again = run(register).await;
    again.success();
    let drained = drain.end().await;
    assert!(
        drained.error(1).contains("is registered again"),
        "{drained:?}"
    );
}

#[tokio::test]
async fn registrations_belong_to_their_owner() {
    let registry = registry(&[]).await;
    let url = &registry.endpoint;
    let register = [
        "registry",
        "register",
        url,
        "weather",
        "tcp://198.51.100.1:1",
    ];
    run([&register[..], &["--owner", "secret"]].concat())
        .await
        .success();
    let unregister = ["registry", "unregister", url, "weather"];
    let refused = run(unregister).await;
    assert!(
        refused.error(1).contains("belongs to another instance"),
        "{refused:?}"
    );
    let mut command = program(unregister);
    command.env("AGENTWIRE_OWNER", "secret");
    finish(command).await.success();
}

#[tokio::test]
async fn instances_are_kept_registered_until_a_signal() {
    let registry = registry(&[]).await;
    let url = &registry.endpoint;
    let mut watch = Running::start(["registry", "watch", url, "--json"]);
    assert!(watch.line().await.contains("snapshot"));
    for signal in stop_signals() {
        let keep = [
            "registry",
            "register",
            url,
            "weather",
            "tcp://198.51.100.1:1",
            "--keep",
        ];
        let mut keep = Running::start(keep);
        assert!(keep.line().await.starts_with("registered weather at "));
        assert!(watch.line().await.contains("joined"));
        keep.send(signal);
        assert_eq!(keep.end().await.success(), "");
        // It was unregistered, and has not expired.
        assert!(watch.line().await.contains("left"));
    }
}

#[tokio::test]
async fn lists_are_bounded() {
    let registry = registry(&[]).await;
    let url = &registry.endpoint;
    let register = [
        "registry",
        "register",
        url,
        "weather",
        "tcp://198.51.100.1:1",
    ];
    run(register).await.success();
    for command in ["list", "watch"] {
        let small = run(["registry", command, url, "--max-list-size", "100B"]).await;
        assert_eq!(small.code, 5, "{small:?}");
    }
}

#[tokio::test]
async fn a_served_agent_is_registered_until_it_shuts_down() {
    let registry = registry(&[]).await;
    let (server, endpoint) = agent(&registry, "parrot").await;
    let url = &registry.endpoint;
    assert_eq!(endpoint, server.endpoint);

    let listed = run(["registry", "list", url, "--json"]).await.messages();
    assert_eq!(listed.len(), 1);
    assert_eq!(field(&listed[0], "name"), "parrot");
    assert_eq!(field(&listed[0], "endpoint"), endpoint);

    let table = run(["registry", "list", url]).await;
    let lines: Vec<_> = table.success().lines().collect();
    assert!(
        lines[0].starts_with("NAME    VERSION  ENDPOINT"),
        "{lines:?}"
    );
    assert!(lines[1].starts_with("parrot  -        tcp://"), "{lines:?}");
    assert!(lines[1].ends_with("s ago") && lines.len() == 2, "{lines:?}");

    let found = run(["registry", "lookup", url, "parrot", "--json"]).await;
    assert_eq!(field(&found.messages()[0], "endpoint"), endpoint);
    let call = [
        "call",
        "--registry",
        url,
        "--name",
        "parrot",
        "--text",
        "hi",
    ];
    assert_eq!(field(&run(call).await.messages()[0], "content"), "hi");

    server.running.send(Signal::TERM);
    assert_eq!(server.running.end().await.success(), "");
    assert_eq!(run(["registry", "list", url]).await.success(), "");
    let error = run(["registry", "lookup", url, "parrot"]).await;
    assert!(
        error.error(3).contains("\"parrot\" is registered"),
        "{error:?}"
    );
}

#[tokio::test]
async fn serve_reports_that_it_fell_out_of_the_registry_and_that_it_is_back() {
    let config = RegistryConfig::new().lease(Duration::from_secs(1));
    let entries = LocalRegistry::with_config(config).expect("settings");
    let first = RegistryServer::serve(entries, "tcp://127.0.0.1:0");
    let first = within(first).await.expect("a registry");
    let url = first.endpoint().to_string();
    let args = ["serve", "tcp://127.0.0.1:0", "--registry", &url];
    let mut agent = Server::start(args).await;
    assert!(
        agent
            .running
            .line()
            .await
            .starts_with("registered echo at ")
    );
    within(first.stop()).await;
    let line = agent.running.error_line().await;
    assert!(
        line.contains("is no longer registered; trying again: "),
        "{line}"
    );

    // Another process takes the endpoint first, and leaves later.
    let entries = LocalRegistry::new();
    let endpoint = agent.endpoint.parse().expect("endpoint");
    let other = Registration::new("echo", endpoint);
    within(entries.register(other.clone()))
        .await
        .expect("register");
    let server = RegistryServer::serve(entries.clone(), &*url);
    let _server = within(server).await.expect("a registry");
    let which = InstanceRef::from(&other);
    within(entries.unregister(&which)).await.expect("the owner");
    // On a slow machine, the lease at the first registry can also expire before that registry stops,
    // so that there is a pair of lines more.
    loop {
        let line = agent.running.error_line().await;
        if !line.contains("is registered again") {
            assert!(line.contains("is no longer registered"), "{line}");
            continue;
        }
        let found = within(entries.lookup("echo")).await.expect("lookup");
        if !found.is_empty() {
            assert_eq!(found.len(), 1);
            break;
        }
    }
    agent.running.send(Signal::TERM);
    agent.running.end().await.success();
}

#[tokio::test]
async fn find_filters_by_every_option() {
    use agentwire::map;
    let entries = LocalRegistry::new();
    let server = RegistryServer::serve(entries.clone(), "tcp://127.0.0.1:0");
    let server = within(server).await.expect("a registry");
    let url = server.endpoint().to_string();
    let make = |name: &str, port: u16, version: &str| {
        let endpoint = format!("tcp://198.51.100.1:{port}")
            .parse()
            .expect("endpoint");
        Registration::new(name, endpoint).with_version(version)
    };
    let weather = make("weather", 1, "2.1.0")
        .with_capabilities(map! {"languages": ["ja"], "tools": [{"name": "forecast"}]})
        .with_metadata("zone", "b");
    let echo = make("echo", 2, "1.0.0").with_capabilities(map! {"tools": ["forecast"]});
    for registration in [weather, echo] {
        within(entries.register(registration))
            .await
            .expect("register");
    }
    for (options, expected) in [
        (&[][..], "echo weather"),
        (&["--capability", "languages.ja"], "weather"),
        (&["--tool", "forecast"], "echo weather"),
        (
            &["--tool", "forecast", "--capability", "languages.ja"],
            "weather",
        ),
        (&["--version", "^1"], "echo"),
        (&["--metadata", r#"{"zone": "b"}"#], "weather"),
        (&["--name", "echo"], "echo"),
        (&["--tool", "knitting"], ""),
    ] {
        let args = [&["registry", "find", &url, "--json"], options].concat();
        let found = run(args).await.messages();
        let names: Vec<_> = found.iter().map(|found| field(found, "name")).collect();
        assert_eq!(names.join(" "), expected, "{options:?}");
    }
}

#[tokio::test]
async fn watch_prints_the_snapshot_and_every_change() {
    let registry = registry(&[]).await;
    let url = &registry.endpoint;
    let (_first, _) = agent(&registry, "parrot").await;
    let mut text = Running::start(["registry", "watch", url]);
    let mut json = Running::start(["registry", "watch", url, "parrot", "--json"]);
    let line = text.line().await;
    assert!(
        event(&line).starts_with("present  parrot  -  tcp://"),
        "{line}"
    );
    let snapshot = parse_lines(&format!("{}\n", json.line().await));
    assert_eq!(field(&snapshot[0], "event"), "snapshot");

    let (second, _) = agent(&registry, "owl").await;
    assert!(event(&text.line().await).starts_with("joined   owl  -  tcp://"));
    second.running.send(Signal::TERM);
    assert!(event(&text.line().await).starts_with("left     owl  -  tcp://"));
    // Its reader closes standard output.
    let unread = text.end_unread();
    agent(&registry, "crow").await;
    within(unread).await.success();
}

#[tokio::test]
async fn watch_prints_that_a_lease_expired() {
    let registry = registry(&["--lease", "1s"]).await;
    let url = &registry.endpoint;
    let mut text = Running::start(["registry", "watch", url]);
    let mut json = Running::start(["registry", "watch", url, "parrot", "--json"]);
    assert!(json.line().await.contains("snapshot"));
    // The text shows nothing of an empty snapshot, so the registration may be part of it.
    let endpoint = "tcp://198.51.100.1:1";
    run(["registry", "register", url, "parrot", endpoint])
        .await
        .success();
    let line = text.line().await;
    assert!(line.ends_with("parrot  -  tcp://198.51.100.1:1"), "{line}");
    // Nothing renews the lease.
    assert_eq!(
        event(&text.line().await),
        "expired  parrot  -  tcp://198.51.100.1:1"
    );
    for expected in ["joined", "expired"] {
        let event = parse_lines(&format!("{}\n", json.line().await));
        assert_eq!(field(&event[0], "event"), expected);
        assert_eq!(field(&event[0]["registration"], "name"), "parrot");
    }
}

#[tokio::test]
async fn an_agent_registers_once_its_registry_is_reachable() {
    let directory = tempfile::tempdir().expect("directory");
    let url = format!(
        "unix://{}",
        directory.path().join("registry.sock").display()
    );
    let agent = ["serve", "tcp://127.0.0.1:0", "--registry", &url];
    let mut agent = Server::start(agent).await;
    // It serves meanwhile.
    run(["call", &agent.endpoint, "--text", "x"])
        .await
        .success();
    let entries = LocalRegistry::new();
    let mut watch = entries.watch(WatchScope::name("echo"));
    within(watch.next())
        .await
        .expect("a snapshot")
        .expect("one");
    let server = within(RegistryServer::serve(entries, &*url)).await;
    let server = server.expect("a registry");
    let joined = within(watch.next()).await.expect("an event").expect("one");
    assert!(matches!(joined, Event::Joined(_)), "{joined:?}");
    assert!(
        agent
            .running
            .line()
            .await
            .starts_with("registered echo at tcp://")
    );
    agent.running.send(Signal::TERM);
    let left = within(watch.next()).await.expect("an event").expect("one");
    assert!(matches!(left, Event::Left(_)), "{left:?}");
    within(server.stop()).await;
}

#[tokio::test]
async fn a_second_agent_cannot_register_a_unique_name() {
    let registry = registry(&["--unique"]).await;
    let (_first, _) = agent(&registry, "parrot").await;
    let args = ["serve", "tcp://127.0.0.1:0", "--name", "parrot"];
    let args = [&args[..], &["--registry", &registry.endpoint]].concat();
    let mut second = Server::start(args).await;
    // It prints a warning, keeps trying, and serves meanwhile.
    let reason = second.running.error_line().await;
    assert!(reason.contains("parrot is not registered yet"), "{reason}");
    assert!(reason.contains("is already registered"), "{reason}");
    run(["call", &second.endpoint, "--text", "x"])
        .await
        .success();
}

#[tokio::test]
async fn an_agent_registers_its_advertised_endpoint() {
    let registry = registry(&[]).await;
    let args = ["serve", "tcp://0.0.0.0:0", "--registry", &registry.endpoint];
    let error = run(args).await;
    assert!(error.error(2).contains("advertise"), "{error:?}");
    let args = [&args[..], &["--advertise", "tcp://localhost:0"]].concat();
    let mut server = Server::start(args).await;
    let port = server
        .endpoint
        .rsplit(':')
        .next()
        .expect("a port")
        .to_owned();
    let line = server.running.line().await;
    assert_eq!(line, format!("registered echo at tcp://localhost:{port}"));
}

#[tokio::test]
async fn registry_commands_have_the_exit_codes_of_calls() {
    let agent = Server::agent("echo").await;
    let error = run(["registry", "list", &agent.endpoint]).await;
    assert!(
        error.error(5).contains("is not an agentwire registry"),
        "{error:?}"
    );
    let watch = run(["registry", "watch", &agent.endpoint]).await;
    assert!(
        watch.error(5).contains("is not an agentwire registry"),
        "{watch:?}"
    );
    // The first refusal ends the command, so no time limit plays a part.
    let error = run(["registry", "list", "tcp://127.0.0.1:1"]).await;
    assert!(error.error(3).contains("cannot be reached"), "{error:?}");
    let registry = registry(&[]).await;
    let error = run(["registry", "lookup", &registry.endpoint, " x"]).await;
    assert!(error.error(2).contains("white space"), "{error:?}");
    let taken = run(["registry", "serve", &registry.endpoint]).await;
    assert!(taken.error(3).contains("cannot"), "{taken:?}");
}

#[tokio::test]
async fn a_signal_stops_a_registry_that_is_watched() {
    let registry = registry(&[]).await;
    let mut watch = Running::start(["registry", "watch", &registry.endpoint]);
    let (agent, _) = agent(&registry, "parrot").await;
    assert!(watch.line().await.contains("parrot"));
    registry.running.send(Signal::TERM);
    assert_eq!(registry.running.end().await.success(), "");
    drop(agent);
}

#[tokio::test]
async fn a_watch_ends_with_the_reader_of_its_output() {
    let registry = registry(&[]).await;
    let mut watch = Running::start(["registry", "watch", &registry.endpoint, "--json"]);
    assert!(watch.line().await.contains("snapshot"));
    // No event follows that the watch could fail to print.
    watch.end_unread().await.success();
}

/// A container runs its command as process 1, which signals do not kill by default.
#[tokio::test]
async fn a_signal_ends_a_watch_that_is_process_1() {
    let registry = registry(&[]).await;
    let args = ["registry", "watch", &registry.endpoint, "--json"];
    let Some(mut watch) = Running::start_as_process_1(args).await else {
        eprintln!("skipped: this user may not create a PID namespace");
        return;
    };
    assert!(watch.line().await.contains("snapshot"));
    watch.send_to_child(Signal::TERM);
    assert!(watch.end().await.error(3).contains("stopped by a signal"));
}

#[tokio::test]
async fn calls_by_name_have_the_exit_codes_of_lookups() {
    use agentwire::transport::Listener;
    let agent = Server::agent("echo").await;
    // It accepts connections and never answers.
    let silent = Listener::bind(&"tcp://127.0.0.1:0".parse().expect("endpoint")).await;
    let silent = silent.expect("a listener");
    let silent_url = silent.endpoint().to_string();
    let empty = registry(&[]).await;
    for (url, name, code, limit) in [
        (&agent.endpoint, "x", 5, &[][..]),
        (&silent_url, "x", 4, &["--timeout", "300ms"]),
        (&"tcp://127.0.0.1:1".to_owned(), "x", 3, &[]),
        (&empty.endpoint, " x", 2, &[]),
    ] {
        let lookup = [&["registry", "lookup", url, name][..], limit].concat();
        let error = run(lookup).await;
        assert_eq!(error.code, code, "{error:?}");
        let call = ["call", "--registry", url, "--name", name, "--text", "x"];
        let error = run([&call[..], limit].concat()).await;
        assert_eq!(error.code, code, "{error:?}");
    }
    let url = &empty.endpoint;
    let serve = [
        "serve",
        "tcp://127.0.0.1:0",
        "--registry",
        url,
        "--name",
        " x",
    ];
    let error = run(serve).await;
    assert!(error.error(2).contains("white space"), "{error:?}");
}

#[tokio::test]
async fn a_watch_fails_if_it_cannot_start_and_warns_if_it_is_interrupted() {
    let error = run(["registry", "watch", "tcp://127.0.0.1:1"]).await;
    assert!(error.error(3).contains("cannot be reached"), "{error:?}");

    let directory = tempfile::tempdir().expect("directory");
    let url = format!(
        "unix://{}",
        directory.path().join("registry.sock").display()
    );
    let serve = [
        "registry",
        "serve",
        &url,
        "--max-connections",
        "8",
        "--max-watches",
        "1",
    ];
    let registry = Server::start(serve).await;
    let mut watch = Running::start(["registry", "watch", &url, "--json"]);
    assert!(watch.line().await.contains("snapshot"));
    for limit in GROWING {
        let error = run(["registry", "watch", &url, "--timeout", limit]).await;
        if error.error(4).contains("waiting for the snapshot") {
            break;
        }
        // The time was over before the registry was asked for the snapshot.
        assert_ne!(limit, GROWING[GROWING.len() - 1], "{error:?}");
    }

    registry.running.send(Signal::KILL);
    registry.running.end_killed().await;
    let note = watch.error_line().await;
    assert!(note.contains("lost the connection"), "{note}");
    let _again = Server::start(serve).await;
    let line = watch.line().await;
    assert!(line.contains(r#""resync": true"#), "{line}");
}

#[tokio::test]
async fn invisible_characters_in_names_are_escaped() {
    let registry = registry(&[]).await;
    let (_agent, _) = agent(&registry, "we\u{200b}ather\u{202e}").await;
    let listed = run(["registry", "list", &registry.endpoint]).await;
    assert!(
        listed.success().contains(r"we\u{200b}ather\u{202e} "),
        "{listed:?}"
    );
}
