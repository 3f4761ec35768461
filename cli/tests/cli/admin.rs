//! The administrative endpoint and `top`.

use std::collections::BTreeMap;

use agentwire::auth::TokenDigest;
use base64::{Engine, engine::general_purpose::STANDARD};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::program::{Running, program, run, within};

/// Starts a server, and returns the URL of its administrative endpoint and its own endpoint.
pub(crate) async fn serve(args: &[&str]) -> (Running, String, String) {
    let mut server = Running::start(args);
    let admin = server.line().await;
    let admin = admin.strip_prefix("admin on ").unwrap().to_owned();
    let endpoint = server.line().await;
    let endpoint = endpoint.strip_prefix("listening on ").unwrap().to_owned();
    (server, admin, endpoint)
}

/// Reads a path, and returns the status and the body.
async fn get(admin: &str, path: &str) -> (u16, String) {
    let (head, body) = exchange(admin, &format!("GET {path}")).await;
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body)
}

async fn exchange(admin: &str, request: &str) -> (String, String) {
    let address = admin.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{request} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

/// Returns the samples of `/metrics` by their names with labels.
async fn metrics(admin: &str) -> BTreeMap<String, f64> {
    let (status, text) = get(admin, "/metrics").await;
    assert_eq!(status, 200);
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let samples = samples.map(|line| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    });
    samples.collect()
}

#[tokio::test]
async fn scripted_calls_have_the_right_metrics() {
    let args = ["serve", "tcp://127.0.0.1:0", "--agent", "count:3"];
    let admin = ["--admin", "http://127.0.0.1:0"];
    let (server, admin, endpoint) = serve(&[&args[..], &admin].concat()).await;
    for _ in 0..3 {
        run(["call", &endpoint, "hi"]).await.success();
    }
    run(["stream", &endpoint, "hi"]).await.success();
    run(["execute", &endpoint, "none"]).await.error(1);
    let mut peer = TcpStream::connect(endpoint.strip_prefix("tcp://").unwrap())
        .await
        .unwrap();
    peer.write_all(b"\0\0\0\x02{}").await.unwrap();
    let mut header = [0; 4];
    within(peer.read_exact(&mut header)).await.unwrap();

    let found = metrics(&admin).await;
    for (name, value) in [
        (
            "agentwire_requests_total{agent=\"count\",method=\"process\",code=\"OK\"}",
            3.0,
        ),
        (
            "agentwire_requests_total{agent=\"count\",method=\"stream\",code=\"OK\"}",
            1.0,
        ),
        (
            "agentwire_requests_total{agent=\"\",method=\"execute\",code=\"TOOL_NOT_FOUND\"}",
            1.0,
        ),
        (
            "agentwire_request_duration_seconds_count{agent=\"count\",method=\"process\"}",
            3.0,
        ),
        ("agentwire_requests_in_flight", 0.0),
        ("agentwire_connections{side=\"server\"}", 1.0),
        ("agentwire_connections_opened_total{side=\"server\"}", 6.0),
        (
            "agentwire_connections_closed_total{side=\"server\",reason=\"peer_closed\"}",
            5.0,
        ),
        ("agentwire_refusals_total{reason=\"malformed\"}", 1.0),
        ("agentwire_calls_in_flight", 0.0),
        ("agentwire_memory_used_bytes", 0.0),
    ] {
        assert_eq!(found.get(name), Some(&value), "{name} in {found:#?}");
    }
    for name in [
        "agentwire_received_bytes_total{side=\"server\"}",
        "agentwire_sent_bytes_total{side=\"server\"}",
        "agentwire_request_duration_seconds_sum{agent=\"count\",method=\"stream\"}",
    ] {
        assert!(found[name] > 0.0, "{name}");
    }
    drop(server);
}

#[tokio::test]
async fn a_proxy_has_the_metrics_of_both_of_its_sides() {
    let (_server, _, target) = serve(&[
        "serve",
        "tcp://127.0.0.1:0",
        "--admin",
        "http://127.0.0.1:0",
    ])
    .await;
    let args = ["proxy", "tcp://127.0.0.1:0", &target, "--name", "echo"];
    let (_proxy, admin, endpoint) =
        serve(&[&args[..], &["--admin", "http://127.0.0.1:0"]].concat()).await;
    run(["call", &endpoint, "hi"]).await.success();
    let found = metrics(&admin).await;
    for (name, value) in [
        (
            "agentwire_requests_total{agent=\"\",method=\"process\",code=\"OK\"}",
            1.0,
        ),
        (
            "agentwire_calls_total{agent=\"echo\",method=\"request\",code=\"OK\"}",
            1.0,
        ),
        ("agentwire_connections{side=\"client\"}", 1.0),
    ] {
        assert_eq!(found.get(name), Some(&value), "{name} in {found:#?}");
    }
}

#[tokio::test]
async fn a_registry_counts_its_changes() {
    let (registry, admin, endpoint) = serve(&[
        "registry",
        "serve",
        "tcp://127.0.0.1:0",
        "--admin",
        "http://127.0.0.1:0",
    ])
    .await;
    let mut agent = Running::start(["serve", "tcp://127.0.0.1:0", "--registry", &endpoint]);
    agent.line().await;
    assert!(agent.line().await.starts_with("registered echo at "));
    let joined = "agentwire_registry_changes_total{change=\"joined\"}";
    within(async { while metrics(&admin).await.get(joined) != Some(&1.0) {} }).await;
    assert_eq!(metrics(&admin).await["agentwire_registrations"], 1.0);
    let (_, stats) = get(&admin, "/stats").await;
    assert!(
        stats.contains("\"kind\": \"joined\", \"text\": \"echo at tcp://127.0.0.1:"),
        "{stats}"
    );
    drop((registry, agent));
}

#[tokio::test]
async fn a_server_is_ready_while_it_serves_and_is_registered() {
    // No registry answers at this endpoint.
    let args = [
        "serve",
        "tcp://127.0.0.1:0",
        "--admin",
        "http://127.0.0.1:0",
    ];
    let registry = ["--registry", "tcp://127.0.0.1:1"];
    let (_server, admin, _) = serve(&[&args[..], &registry].concat()).await;
    let (status, body) = get(&admin, "/ready").await;
    assert_eq!(status, 503);
    assert!(body.contains("\"registry\": \"not registered\""), "{body}");
    let (_server, admin, _) = serve(&args).await;
    let (status, body) = get(&admin, "/ready").await;
    assert_eq!(status, 200);
    assert!(body.starts_with("{\"ready\": true"), "{body}");
    for path in ["/live", "/health"] {
        assert_eq!(get(&admin, path).await.0, 200, "{path}");
    }
}

#[tokio::test]
async fn a_draining_server_is_alive_but_not_ready() {
    let args = ["serve", "tcp://127.0.0.1:0", "--agent", "slow:600000"];
    let (server, admin, endpoint) =
        serve(&[&args[..], &["--admin", "http://127.0.0.1:0"]].concat()).await;
    let call = program(["call", &endpoint, "hi"]).spawn().unwrap();
    within(async { while metrics(&admin).await["agentwire_requests_in_flight"] != 1.0 {} }).await;
    let (_, open) = get(&admin, "/connections").await;
    assert!(open.contains("\"in_flight\": 1"), "{open}");
    server.send(rustix::process::Signal::TERM);
    within(async { while get(&admin, "/ready").await.0 != 503 {} }).await;
    assert_eq!(get(&admin, "/live").await.0, 200);
    drop(call);
}

/// Returns the status of a probe, or `None` if nothing listens.
async fn probe(base: &str, path: &str) -> Option<u16> {
    let address = base.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.ok()?;
    answer.split(' ').nth(1)?.parse().ok()
}

#[tokio::test]
async fn probes_at_the_door_and_at_the_admin_endpoint_follow_the_life_of_a_server() {
    // A registry that starts later, at a port that was free.
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let registry = format!("tcp://{}", free.local_addr().unwrap());
    drop(free);
    let args = ["serve", "http://127.0.0.1:0", "--agent", "slow:600000"];
    let options = ["--registry", &registry, "--admin", "http://127.0.0.1:0"];
    let (server, admin, door) = serve(&[&args[..], &options].concat()).await;
    let both = async |path: &str| [probe(&door, path).await, probe(&admin, path).await];

    // Started, but not registered.
    assert_eq!(both("/live").await, [Some(200); 2]);
    assert_eq!(both("/health").await, [Some(200); 2]);
    assert_eq!(both("/ready").await, [Some(503); 2]);

    let _registry = Running::start(["registry", "serve", &registry]);
    within(async { while both("/ready").await != [Some(200); 2] {} }).await;

    // A call holds the stop up. The door takes no new connections, and the process is alive.
    let mut call = program(["call", &door, "hi"]).spawn().unwrap();
    within(async { while metrics(&admin).await["agentwire_requests_in_flight"] != 1.0 {} }).await;
    server.send(rustix::process::Signal::TERM);
    within(async { while probe(&admin, "/ready").await != Some(503) {} }).await;
    assert_eq!(probe(&admin, "/live").await, Some(200));
    within(async { while probe(&door, "/ready").await == Some(200) {} }).await;

    // A second signal aborts the call.
    server.send(rustix::process::Signal::TERM);
    let _ = server.end().await;
    assert_eq!(both("/live").await, [None, None]);
    let _ = within(call.wait()).await;
}

#[tokio::test]
async fn the_page_has_no_foreign_assets_and_other_requests_are_refused() {
    let (_server, admin, _) = serve(&[
        "serve",
        "tcp://127.0.0.1:0",
        "--admin",
        "http://127.0.0.1:0",
    ])
    .await;
    for path in ["/", "/page.css", "/page.js"] {
        let (status, body) = get(&admin, path).await;
        assert_eq!(status, 200);
        assert!(
            !body.contains("http:") && !body.contains("https:"),
            "{path}"
        );
        assert!(!body.contains("innerHTML"), "{path}");
    }
    let (head, _) = exchange(&admin, "GET /").await;
    assert!(
        head.contains("content-security-policy: default-src 'none'"),
        "{head}"
    );
    assert_eq!(get(&admin, "/other").await.0, 404);
    let (head, _) = exchange(&admin, "POST /metrics").await;
    assert!(head.starts_with("HTTP/1.1 405"), "{head}");
    let (head, _) = exchange(
        &admin,
        "GET /connections HTTP/1.1\r\nHost: evil.example\r\nX:",
    )
    .await;
    assert!(!head.starts_with("HTTP/1.1 200"), "{head}");
}

#[tokio::test]
async fn top_shows_rates_connections_and_names() {
    let (_server, admin, endpoint) = serve(&[
        "serve",
        "tcp://127.0.0.1:0",
        "--admin",
        "http://127.0.0.1:0",
    ])
    .await;
    run(["call", &endpoint, "hi"]).await.success();
    // A health check is no refusal.
    run(["ping", &endpoint, "-c", "1"]).await.success();
    let top = run(["top", &admin, "--interval", "1ms"]).await;
    let text = top.success();
    assert!(text.starts_with(&format!("{admin}  ready  up ")), "{text}");
    for part in [
        "requests/s",
        "p99",
        "  0 refusals  ",
        "echo                   process           1",
        "CONNECTIONS (0)",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let gone = run(["top", "http://127.0.0.1:1"]).await;
    assert!(
        gone.error(3)
            .starts_with("cannot read http://127.0.0.1:1/stats: ")
    );
}

#[tokio::test]
async fn metrics_need_a_permission_if_there_is_an_auth_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let principal = |name: &str, role: &str| {
        let digest = TokenDigest::of(name).to_hex();
        format!(
            "[[principal]]\nname = \"{name}\"\nroles = [\"{role}\"]\ntoken_sha256 = \"{digest}\"\n"
        )
    };
    let file = principal("viewer", "observer") + &principal("caller", "agent-consumer");
    std::fs::write(path("auth.toml"), file).unwrap();
    let args = [
        "serve",
        "tcp://127.0.0.1:0",
        "--admin",
        "http://127.0.0.1:0",
    ];
    let files = [
        "--auth",
        &path("auth.toml"),
        "--audit",
        &path("audit.jsonl"),
    ];
    let (server, admin, _) = serve(&[&args[..], &files].concat()).await;
    let basic = format!("Basic {}", STANDARD.encode("anyone:viewer"));
    for page in ["/metrics", "/connections", "/stats"] {
        for (header, status) in [
            (None, 401),
            (Some("Bearer wrong"), 401),
            (Some("Basic viewer"), 401),
            (Some("Bearer caller"), 403),
            (Some("Bearer viewer"), 200),
            (Some("bearer viewer\r\nAuthorization: Bearer viewer"), 401),
            (Some(&*basic), 200),
        ] {
            let header = header.map(|value| format!("\r\nAuthorization: {value}"));
            let header = header.unwrap_or_default();
            let request = format!("GET {page} HTTP/1.1{header}\r\nX:");
            let (head, body) = exchange(&admin, &request).await;
            assert!(
                head.starts_with(&format!("HTTP/1.1 {status}")),
                "{request}: {head}"
            );
            let asks = head.contains("www-authenticate: Basic realm=\"agentwire\", Bearer");
            assert_eq!(asks, status == 401, "{head}");
            assert!(status == 200 || !body.contains("connections"), "{body}");
        }
    }
    for open in ["/health", "/ready", "/live", "/"] {
        assert_eq!(get(&admin, open).await.0, 200, "{open}");
    }
    let refused = run(["top", &admin]).await;
    assert!(refused.error(1).contains("UNAUTHENTICATED"), "{refused:?}");
    let top = ["top", &admin, "--interval", "1ms", "--token", "viewer"];
    assert!(run(top).await.success().starts_with(&*admin));
    let elsewhere = run(["top", "http://192.0.2.1:1", "--token", "viewer"]).await;
    assert!(
        elsewhere.error(2).contains("--allow-plaintext-token"),
        "{elsewhere:?}"
    );
    server.send(rustix::process::Signal::TERM);
    server.end().await.success();
    let record = std::fs::read_to_string(path("audit.jsonl")).unwrap();
    for (principal, outcome) in [("caller", "denied"), ("viewer", "allowed")] {
        let is_recorded = record.lines().any(|line| {
            line.contains(&format!(
                r#""outcome": "{outcome}", "principal": "{principal}""#
            )) && line.contains(r#""method": "/metrics""#)
        });
        assert!(is_recorded, "{principal}: {record}");
    }
}
