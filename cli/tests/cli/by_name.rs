//! Calls by name, through a registry.

use agentwire::registry::{LocalRegistry, Registration, Registry, RegistryServer};

use crate::program::{Server, run, within};

/// Serves a registry for other processes. Returns the server, its entries and its URL.
async fn registry() -> (RegistryServer, LocalRegistry, String) {
    let entries = LocalRegistry::new();
    let server = within(RegistryServer::serve(entries.clone(), "tcp://127.0.0.1:0")).await;
    let server = server.expect("a registry");
    let url = server.endpoint().to_string();
    (server, entries, url)
}

async fn register(entries: &LocalRegistry, endpoint: &str) {
    let registration = Registration::new("weather", endpoint.parse().expect("endpoint"));
    entries.register(registration).await.expect("registration");
}

#[tokio::test]
async fn call_and_stream_find_an_agent_by_name() {
    let (_registry, entries, url) = registry().await;
    let server = Server::agent("count:3").await;
    register(&entries, &server.endpoint).await;
    let target = ["--registry", &url, "--name", "weather", "--text", "Oslo?"];
    let called = run([&["call"], &target[..]].concat()).await;
    assert!(
        called.success().contains(r#""role": "agent""#),
        "{called:?}"
    );
    let streamed = run([&["stream"], &target[..]].concat()).await;
    assert_eq!(streamed.success().lines().count(), 3);
}

#[tokio::test]
async fn calls_fail_over_to_another_instance() {
    let (_registry, entries, url) = registry().await;
    let server = Server::agent("echo").await;
    register(&entries, "tcp://127.0.0.1:1").await;
    register(&entries, &server.endpoint).await;
    for _ in 0..4 {
        let args = [
            "call",
            "--registry",
            &url,
            "--name",
            "weather",
            "--text",
            "x",
        ];
        run(args).await.success();
    }
}

#[tokio::test]
async fn an_agent_that_cannot_be_found_or_reached_exits_with_3() {
    let (registry, entries, url) = registry().await;
    let args = [
        "call",
        "--registry",
        &url,
        "--name",
        "weather",
        "--text",
        "x",
    ];
    let error = run(args).await.error(3).to_owned();
    assert!(
        error.contains("no agent of that name is registered"),
        "{error}"
    );
    register(&entries, "tcp://127.0.0.1:1").await;
    let error = run(args).await.error(3).to_owned();
    assert!(
        error.contains("none of its instances can be reached"),
        "{error}"
    );
    within(registry.abort()).await;
    let error = run(args).await.error(3).to_owned();
    assert!(error.contains("registry lookup failed"), "{error}");
}

#[tokio::test]
async fn agents_are_found_by_dns_and_in_a_list() {
    let agent = Server::agent("echo").await;
    let (_, port) = agent.endpoint.rsplit_once(':').expect("a port");
    let registries = [
        format!("dns://127.0.0.1:{port}"),
        format!("static:tcp://127.0.0.1:1,{}", agent.endpoint),
    ];
    for registry in &registries {
        let call = [
            "call",
            "--raw",
            "--registry",
            registry,
            "--name",
            "echo",
            "hello",
        ];
        assert_eq!(run(call).await.success(), "hello\n");
        let list = run(["registry", "list", registry]).await;
        assert!(list.success().contains(&agent.endpoint), "{list:?}");
        let lookup = run(["registry", "lookup", registry, "echo"]).await;
        assert!(lookup.success().contains("echo"), "{lookup:?}");
        let serve = run(["serve", "tcp://127.0.0.1:0", "--registry", registry]).await;
        assert!(serve.error(2).contains("cannot register"), "{serve:?}");
    }
    let wrong = [
        "call",
        "--registry",
        "dns://agents",
        "--name",
        "echo",
        "hello",
    ];
    let wrong = run(wrong).await;
    assert!(wrong.error(2).contains("dns://"), "{wrong:?}");
}
