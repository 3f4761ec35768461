//! Runs the program over TLS, against itself.

#![cfg(unix)]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests may panic")]

#[path = "../common/authority.rs"]
mod authority;
#[allow(dead_code, reason = "this suite uses a part of it")]
#[path = "../cli/program.rs"]
mod program;

use std::path::Path;

use authority::{Authority, Issued, Wanted};
use program::{Finished, Running, run};

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// The options of a server with this certificate that requires certificates of its clients.
fn serving<'a>(issued: &'a Issued, clients: &'a Path) -> [&'a str; 6] {
    let (certificate, key) = (text(&issued.certificate), text(&issued.key));
    [
        "--tls-cert",
        certificate,
        "--tls-key",
        key,
        "--tls-client-ca",
        text(clients),
    ]
}

/// The options of a client with this certificate.
fn calling<'a>(issued: &'a Issued, authority: &'a Path) -> [&'a str; 6] {
    let (certificate, key) = (text(&issued.certificate), text(&issued.key));
    [
        "--tls-ca",
        text(authority),
        "--tls-client-cert",
        certificate,
        "--tls-client-key",
        key,
    ]
}

async fn serve(command: &[&str], endpoint: &str, options: &[&str]) -> (Running, String) {
    let mut running = Running::start(command.iter().chain(&[endpoint]).chain(options));
    let line = running.line().await;
    let endpoint = line.strip_prefix("listening on ").expect(&line);
    let endpoint = endpoint.to_owned();
    (running, endpoint)
}

async fn call(endpoint: &str, options: &[&str]) -> Finished {
    let message = ["call", endpoint, "--text", "hello"];
    run(message.iter().chain(options)).await
}

#[tokio::test]
async fn an_agent_a_registry_and_a_proxy_are_used_over_tls() {
    let authority = Authority::new("cli");
    let (server, client, ca) = (
        authority.server(),
        authority.client("cli"),
        authority.file(),
    );
    let (serving, calling) = (serving(&server, &ca), calling(&client, &ca));
    let (_registry, registry) = serve(&["registry", "serve"], "tls://localhost:0", &serving).await;
    let mut options = [serving, calling].concat();
    options.extend(["--registry", &registry]);
    let (mut agent, endpoint) = serve(&["serve"], "tls://localhost:0", &options).await;
    assert!(agent.line().await.starts_with("registered"));
    let reply = call(&endpoint, &calling).await;
    assert!(reply.success().contains("hello"), "{reply:?}");
    let message = [
        "call",
        "--registry",
        &registry,
        "--name",
        "echo",
        "--text",
        "hello",
    ];
    let reply = run(message.iter().chain(&calling)).await;
    assert!(reply.success().contains("hello"), "{reply:?}");
    let list = run(["registry", "list", &registry].iter().chain(&calling)).await;
    assert!(list.success().contains(&endpoint), "{list:?}");
    let proxy = ["proxy", "tls://localhost:0"];
    let (_proxy, proxy) = serve(&proxy, &endpoint, &[serving, calling].concat()).await;
    let reply = call(&proxy, &calling).await;
    assert!(reply.success().contains("hello"), "{reply:?}");
}

#[tokio::test]
async fn a_failure_of_tls_says_which() {
    let (authority, other) = (Authority::new("cli"), Authority::new("other"));
    let (ca, stranger) = (authority.file(), other.client("stranger"));
    let server = authority.server();
    let (_running, endpoint) = serve(&["serve"], "tls://localhost:0", &serving(&server, &ca)).await;
    let expired = authority.issue(Wanted {
        names: &["localhost"],
        years: Some((2001, 2002)),
        ..Wanted::default()
    });
    let (_expired, expired) = serve(&["serve"], "tls://localhost:0", &serving(&expired, &ca)).await;
    let (_plain, plain) = serve(&["serve"], "tcp://localhost:0", &[]).await;
    let port = |endpoint: &str| endpoint.rsplit_once(':').expect("a port").1.to_owned();
    let (tls_at_plain, plain_at_tls) = (
        format!("tls://localhost:{}", port(&plain)),
        format!("tcp://localhost:{}", port(&endpoint)),
    );
    let trusted = ["--tls-ca", text(&ca)];
    let (wrong_ca, wrong_name) = (other.file(), ["--tls-server-name", "elsewhere"]);
    for (endpoint, options, expected) in [
        (&endpoint, trusted.to_vec(), "requires a certificate"),
        (
            &endpoint,
            calling(&stranger, &ca).to_vec(),
            "does not accept the certificate of this",
        ),
        (
            &endpoint,
            vec!["--tls-ca", text(&wrong_ca)],
            "not signed by a trusted",
        ),
        (
            &endpoint,
            [trusted, wrong_name].concat(),
            "belongs to another name",
        ),
        (&expired, trusted.to_vec(), "it has expired"),
        (&tls_at_plain, trusted.to_vec(), "does not speak TLS"),
    ] {
        let finished = call(endpoint, &options).await;
        let error = finished.error(3);
        assert!(error.contains(expected), "{error}");
    }
    let finished = call(&plain_at_tls, &[]).await;
    assert!(
        finished.stderr.contains("This endpoint speaks TLS"),
        "{finished:?}"
    );
    assert_ne!(finished.code, 0);
}

#[tokio::test]
async fn options_that_cannot_be_used_stop_the_start() {
    let authority = Authority::new("cli");
    let (one, two) = (authority.server(), authority.server());
    let (certificate, key, other) = (text(&one.certificate), text(&one.key), text(&two.key));
    for (arguments, expected) in [
        (vec!["serve", "tls://localhost:0"], "needs --tls-cert"),
        (
            vec![
                "serve",
                "tcp://localhost:0",
                "--tls-cert",
                certificate,
                "--tls-key",
                key,
            ],
            "is not encrypted",
        ),
        (
            vec![
                "serve",
                "tls://localhost:0",
                "--tls-cert",
                certificate,
                "--tls-key",
                other,
            ],
            "does not belong to the certificate",
        ),
        (
            vec![
                "serve",
                "tls://localhost:0",
                "--tls-cert",
                key,
                "--tls-key",
                key,
            ],
            "it contains no certificate",
        ),
        (
            vec![
                "call",
                "tls://localhost:1",
                "--text",
                "hi",
                "--tls-ca",
                "/missing",
            ],
            "\"/missing\"",
        ),
    ] {
        let finished = run(&arguments).await;
        let error = finished.error(2);
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
    let half = run(["serve", "tls://localhost:0", "--tls-cert", certificate]).await;
    assert_eq!(half.code, 2, "{half:?}");
}
