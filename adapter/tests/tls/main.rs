//! Agents, registries and proxies over TLS.

#![cfg(feature = "tls")]
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test may stop at the first surprise"
)]

#[path = "../common/authority.rs"]
mod authority;
#[allow(dead_code, unused_imports, reason = "this suite uses a part of it")]
#[path = "../it/common/mod.rs"]
mod common;
#[cfg(feature = "websocket")]
mod websocket;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use agentwire::{
    Endpoint, Error, LocalAgent, Message, Proxy, RemoteAgent, RemoteAgentBuilder, RequestContext,
    RetryPolicy, TlsClient, TlsServer, agent_fn,
    registry::{LocalRegistry, Query, Registration, Registry, RegistryServer, RemoteRegistry},
    transport::{
        CertificateProblem::{self, Missing, UnknownIssuer},
        Connector, EndpointConnector, Error as TransportError, Listener, TcpOptions, TlsError,
    },
};
use authority::{Authority, Issued};
use common::{RawPeer, process_frame, within};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_util::task::AbortOnDropHandle;

/// An agent that answers with the DNS name of its caller.
fn who() -> impl agentwire::Agent {
    agent_fn("who", |_: Message, context: RequestContext| async move {
        let certificate = context.peer().certificate();
        let name = certificate.and_then(|certificate| certificate.dns_names().first());
        Ok(Message::agent(name.map_or("nobody", String::as_str)))
    })
}

fn server_of(issued: &Issued) -> TlsServer {
    TlsServer::from_pem(&issued.certificate, &issued.key).expect("server")
}

fn trusting(authority: &Authority) -> TlsClient {
    TlsClient::new().ca(authority.file()).expect("ca")
}

fn identified(authority: &Authority, name: &str) -> TlsClient {
    let issued = authority.client(name);
    let tls = trusting(authority).identity(issued.certificate, issued.key);
    tls.expect("identity")
}

async fn serve(tls: TlsServer) -> LocalAgent {
    serve_at("tls://127.0.0.1:0", tls).await
}

async fn serve_at(endpoint: &str, tls: TlsServer) -> LocalAgent {
    let builder = LocalAgent::builder(who()).endpoint(endpoint);
    builder.tls(tls).serve().await.expect("serve")
}

fn client(endpoint: &Endpoint, tls: TlsClient) -> RemoteAgentBuilder {
    RemoteAgent::builder(endpoint)
        .tls(tls)
        .retry(RetryPolicy::never())
}

async fn ask(remote: &RemoteAgent) -> Result<String, Error> {
    let reply = within(remote.process(Message::user("who am I?"))).await?;
    Ok(reply.text().expect("text").to_owned())
}

fn port(endpoint: &Endpoint) -> u16 {
    match endpoint {
        Endpoint::Tls { port, .. } | Endpoint::Tcp { port, .. } => *port,
        other => panic!("{other}"),
    }
}

/// Returns why TLS failed, and checks that the request was not sent.
fn problem(error: &Error) -> TlsError {
    assert!(!error.was_sent(), "{error:?}");
    let source = match error {
        Error::ConnectionFailed { source, .. } => Some(source),
        Error::Unreachable { source, .. } => source.as_ref(),
        other => panic!("{other:?}"),
    };
    let source = source.expect("a source");
    source
        .tls()
        .cloned()
        .unwrap_or_else(|| panic!("{source:?}"))
}

#[tokio::test]
async fn an_agent_knows_the_certificate_of_its_caller() {
    let authority = Authority::new("who");
    let tls = server_of(&authority.server())
        .client_ca(authority.file())
        .expect("ca");
    let required = serve(tls.clone()).await;
    let optional = serve(tls.client_auth_optional()).await;
    for server in [&required, &optional] {
        let builder = client(server.endpoint(), identified(&authority, "alice.example"));
        let shared = builder.max_connections(1).max_in_flight_per_connection(8);
        assert_eq!(
            ask(&shared.build().unwrap()).await.unwrap(),
            "alice.example"
        );
    }
    let remote = client(optional.endpoint(), trusting(&authority))
        .build()
        .unwrap();
    for _ in 0..3 {
        assert_eq!(ask(&remote).await.unwrap(), "nobody");
    }
    assert_eq!(remote.stats().open, 1, "the connection is reused");
}

#[tokio::test]
async fn a_refused_client_is_a_connect_error_that_says_why() {
    let (authority, other) = (Authority::new("refusing"), Authority::new("other"));
    let tls = server_of(&authority.server());
    let server = serve(tls.client_ca(authority.file()).expect("ca")).await;
    let stranger = other.client("stranger.example");
    let stranger = trusting(&authority)
        .identity(stranger.certificate, stranger.key)
        .expect("identity");
    for (tls, expected) in [(trusting(&authority), Missing), (stranger, UnknownIssuer)] {
        let refused = TlsError::Refused(expected);
        for in_flight in [1, 8] {
            let builder = client(server.endpoint(), tls.clone());
            let remote = builder
                .max_in_flight_per_connection(in_flight)
                .build()
                .unwrap();
            assert_eq!(problem(&ask(&remote).await.unwrap_err()), refused);
            assert_eq!(problem(&within(remote.ping()).await.unwrap_err()), refused);
            // The request is larger than the buffers of the sockets.
            let large = Message::user("x".repeat(8 << 20));
            let error = within(remote.process(large)).await.unwrap_err();
            assert_eq!(problem(&error), refused);
            let mut streamed = remote.stream(Message::user("stream"));
            let first = within(streamed.next()).await.expect("an error");
            assert_eq!(problem(&first.unwrap_err()), refused);
        }
    }
}

#[tokio::test]
async fn a_server_that_is_not_trusted_is_a_connect_error_that_says_why() {
    let (authority, other) = (Authority::new("trusted"), Authority::new("other"));
    let server = serve(server_of(&authority.server())).await;
    let remote = client(server.endpoint(), trusting(&other)).build().unwrap();
    let error = ask(&remote).await.unwrap_err();
    assert_eq!(problem(&error), TlsError::Certificate(UnknownIssuer));
    let shown = format!("{error:#}");
    assert!(
        shown.contains("not signed by a trusted certification authority"),
        "{shown}"
    );
    let named = trusting(&authority).server_name("other.example");
    let remote = client(server.endpoint(), named).build().unwrap();
    let expected = TlsError::Certificate(CertificateProblem::WrongName);
    assert_eq!(problem(&ask(&remote).await.unwrap_err()), expected);
}

#[tokio::test]
async fn an_instance_that_refuses_the_client_is_ejected_and_others_are_called() {
    let (authority, other) = (Authority::new("ours"), Authority::new("theirs"));
    let tls = server_of(&authority.server());
    let good = serve(tls.client_ca(authority.file()).expect("ca")).await;
    let theirs = server_of(&authority.server()).client_ca(other.file());
    let endpoint = "tls://127.0.0.1:0".parse().unwrap();
    let mut bad = Listener::bind_tls(&endpoint, theirs.expect("ca"))
        .await
        .unwrap();
    let registry = LocalRegistry::new();
    for endpoint in [good.endpoint(), bad.endpoint()] {
        let registration = Registration::new("who", endpoint.clone());
        registry.register(registration).await.unwrap();
    }
    let refused = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&refused);
    let _refusing = AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            let mut connection = bad.accept().await.unwrap();
            assert!(connection.handshake().await.is_err());
            count.fetch_add(1, Relaxed);
            connection.shutdown().await.unwrap();
            let _ = connection.read_to_end(&mut Vec::new()).await;
        }
    }));
    let remote = RemoteAgent::discover(registry, Query::new().name("who"))
        .tls(identified(&authority, "alice.example"))
        .build()
        .unwrap();
    for _ in 0..200 {
        assert_eq!(ask(&remote).await.unwrap(), "alice.example");
    }
    let refused = refused.load(Relaxed);
    assert!(
        (1..20).contains(&refused),
        "{refused} of 200 calls tried it"
    );
}

#[tokio::test]
async fn a_discovered_endpoint_without_tls_is_never_called_if_tls_is_required() {
    let server = LocalAgent::serve(who(), "tcp://127.0.0.1:0").await.unwrap();
    let registry = LocalRegistry::new();
    let registration = Registration::new("who", server.endpoint().clone());
    registry.register(registration).await.unwrap();
    let query = Query::new().name("who");
    let builder = RemoteAgent::discover(registry, query).timeout(Duration::from_secs(5));
    let remote = builder.require_tls(true).retry(RetryPolicy::never());
    let error = ask(&remote.build().unwrap()).await.unwrap_err();
    let Error::Unreachable {
        source: Some(source),
        ..
    } = &error
    else {
        panic!("{error:?}");
    };
    assert!(
        matches!(source, TransportError::NotEncrypted { .. }),
        "{source:?}"
    );
    let fixed = RemoteAgent::builder(server.endpoint()).require_tls(true);
    assert!(matches!(fixed.build(), Err(Error::InvalidEndpoint(_))));
    let local = RemoteAgent::builder("unix:///run/agent.sock").require_tls(true);
    assert!(local.build().is_ok());
}

#[tokio::test]
async fn silent_peers_keep_no_honest_call_waiting() {
    let authority = Authority::new("silent");
    let server = serve(server_of(&authority.server())).await;
    let address = ("127.0.0.1", port(server.endpoint()));
    let mut silent = Vec::new();
    for number in 0..100 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        if number % 2 == 1 {
            // The start of a handshake that never goes on.
            stream.write_all(b"\x16\x03\x01").await.unwrap();
        }
        silent.push(stream);
    }
    let remote = client(server.endpoint(), trusting(&authority))
        .build()
        .unwrap();
    assert_eq!(ask(&remote).await.unwrap(), "nobody");
}

#[tokio::test]
async fn silent_peers_give_way_at_the_limit_of_connections() {
    let authority = Authority::new("full");
    let builder = LocalAgent::builder(who()).endpoint("tls://127.0.0.1:0");
    let builder = builder
        .tls(server_of(&authority.server()))
        .max_connections(4);
    let server = builder.serve().await.unwrap();
    let address = ("127.0.0.1", port(server.endpoint()));
    let mut silent = Vec::new();
    for _ in 0..4 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let remote = client(server.endpoint(), trusting(&authority))
        .build()
        .unwrap();
    assert_eq!(ask(&remote).await.unwrap(), "nobody");
}

#[tokio::test]
async fn a_handshake_that_never_ends_is_cut() {
    let authority = Authority::new("slow");
    let builder = LocalAgent::builder(who()).endpoint("tls://127.0.0.1:0");
    let builder = builder.tls(server_of(&authority.server()));
    let server = builder.handshake_timeout(Duration::from_millis(50)).serve();
    let server = server.await.unwrap();
    for start in [&b""[..], b"\x16\x03\x01"] {
        let mut stream = TcpStream::connect(("127.0.0.1", port(server.endpoint())))
            .await
            .unwrap();
        stream.write_all(start).await.unwrap();
        let read = within(stream.read(&mut [0; 8])).await;
        assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    }
}

#[tokio::test]
async fn peers_without_tls_at_a_tls_endpoint_are_told_so() {
    let authority = Authority::new("plain clients");
    let server = serve(server_of(&authority.server())).await;
    let port = port(server.endpoint());
    let plain = Endpoint::tcp("127.0.0.1", port).unwrap();
    let remote = RemoteAgent::builder(&plain).retry(RetryPolicy::never());
    let error = ask(&remote.build().unwrap()).await.unwrap_err();
    let shown = format!("{error:#}");
    assert!(shown.contains("This endpoint speaks TLS"), "{shown}");

    let mut browser = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    browser.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    within(browser.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
}

#[tokio::test]
async fn a_tls_client_at_an_endpoint_without_tls_is_told_so() {
    let authority = Authority::new("plain server");
    let server = LocalAgent::serve(who(), "tcp://127.0.0.1:0").await.unwrap();
    let endpoint = Endpoint::tls("127.0.0.1", port(server.endpoint())).unwrap();
    let remote = client(&endpoint, trusting(&authority)).build().unwrap();
    assert_eq!(problem(&ask(&remote).await.unwrap_err()), TlsError::NotTls);
}

#[tokio::test]
async fn an_end_inside_a_frame_is_an_error() {
    let authority = Authority::new("truncated");
    let tls = server_of(&authority.server());
    let endpoint = "tls://127.0.0.1:0".parse().unwrap();
    let mut listener = Listener::bind_tls(&endpoint, tls).await.unwrap();
    let builder = client(listener.endpoint(), trusting(&authority));
    let remote = builder.build().unwrap();
    let serving = async {
        let mut connection = listener.accept().await.unwrap();
        connection.handshake().await.unwrap();
        let mut header = [0; 4];
        connection.read_exact(&mut header).await.unwrap();
        let len = usize::try_from(u32::from_be_bytes(header)).unwrap();
        connection.read_exact(&mut vec![0; len]).await.unwrap();
        connection.write_all(b"\0\0\0\x10{").await.unwrap();
        connection.flush().await.unwrap();
    };
    let (answer, ()) = within(async { tokio::join!(ask(&remote), serving) }).await;
    let error = answer.unwrap_err();
    assert!(
        error.was_sent() && format!("{error:#}").contains("frame"),
        "{error:#}"
    );
}

#[tokio::test]
async fn a_connection_does_not_outlive_the_certificate_of_its_peer() {
    let authority = Authority::new("expiry");
    let tls = server_of(&authority.server()).client_ca(authority.file());
    let builder = LocalAgent::builder(who()).endpoint("tls://127.0.0.1:0");
    let builder = builder.tls(tls.expect("ca")).idle_timeout(Duration::MAX);
    let server = builder.serve().await.unwrap();
    let issued = authority.client_for("short.example", Duration::from_secs(3600));
    let tls = trusting(&authority)
        .identity(issued.certificate, issued.key)
        .unwrap();
    let connector = EndpointConnector::new(server.endpoint().clone(), TcpOptions::new());
    let connection = within(connector.with_tls(tls).connect()).await.unwrap();
    let mut peer = RawPeer { connection };
    for advanced in [0, 3000] {
        advance(Duration::from_secs(advanced)).await;
        peer.send(&process_frame("1", Message::user("valid"))).await;
        peer.receive().await;
    }
    advance(Duration::from_secs(700)).await;
    peer.receive_end().await;
}

/// Advances the clock of tokio, on which the deadlines of sessions depend.
async fn advance(duration: Duration) {
    tokio::time::pause();
    tokio::time::advance(duration).await;
    tokio::time::resume();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_replaced_under_load_without_a_failed_call() {
    let authority = Authority::new("rotation");
    let issued = authority.server();
    let next: Vec<_> = (0..20).map(|_| authority.server()).collect();
    let tls = server_of(&issued);
    let server = serve(tls.clone()).await;
    let is_done = Arc::new(AtomicBool::new(false));
    let mut callers = Vec::new();
    for idle_timeout in [Duration::ZERO, Duration::ZERO, Duration::MAX, Duration::MAX] {
        // Without an idle timeout, each call opens a connection.
        let builder = client(server.endpoint(), trusting(&authority)).idle_timeout(idle_timeout);
        let (remote, is_done) = (builder.build().unwrap(), Arc::clone(&is_done));
        callers.push(tokio::spawn(async move {
            let mut calls = 0;
            while !is_done.load(Relaxed) {
                assert_eq!(ask(&remote).await.unwrap(), "nobody");
                calls += 1;
            }
            calls
        }));
    }
    for next in next {
        issued.replace_with(&next);
        assert!(tls.reload_if_changed().unwrap());
        // Some calls use each of the certificates.
        let remote = client(server.endpoint(), trusting(&authority))
            .build()
            .unwrap();
        ask(&remote).await.unwrap();
    }
    is_done.store(true, Relaxed);
    for caller in callers {
        assert!(caller.await.unwrap() > 20);
    }
}

#[tokio::test]
async fn a_server_picks_up_certificates_that_have_changed() {
    let authority = Authority::new("watching");
    let issued = authority.server();
    let server = serve(server_of(&issued)).await;
    let connector = EndpointConnector::new(server.endpoint().clone(), TcpOptions::new())
        .with_tls(trusting(&authority));
    let serial = async || {
        let connection = within(connector.connect()).await.unwrap();
        connection.peer().certificate().unwrap().der().to_vec()
    };
    let first = serial().await;
    issued.replace_with(&authority.server());
    // The files are read on another thread, which does not follow the paused clock. A limit of time
    // would pass with the clock, so the number of connections is limited instead.
    for _ in 0..10_000 {
        if serial().await != first {
            return;
        }
        advance(Duration::from_secs(5)).await;
        tokio::task::yield_now().await;
    }
    panic!("the server still has its first certificate");
}

#[tokio::test]
async fn a_registry_and_a_proxy_are_reached_over_tls() {
    let authority = Authority::new("infrastructure");
    let tls = || {
        let tls = server_of(&authority.server()).client_ca(authority.file());
        tls.expect("ca")
    };
    let agent = serve(tls()).await;
    let builder = Proxy::builder(client(
        agent.endpoint(),
        identified(&authority, "proxy.example"),
    ));
    let proxy = builder.endpoint("tls://127.0.0.1:0").tls(tls());
    let proxy = proxy.serve().await.unwrap();
    let registry = RegistryServer::builder(LocalRegistry::new()).endpoint("tls://127.0.0.1:0");
    let registry = registry.tls(tls()).serve().await.unwrap();
    let remote_registry = |name| {
        let builder = RemoteRegistry::builder(registry.endpoint()).require_tls(true);
        builder.tls(identified(&authority, name)).build().unwrap()
    };
    let registration = Registration::new("who", proxy.endpoint().clone());
    within(remote_registry("server.example").register(registration))
        .await
        .unwrap();
    let remote = RemoteAgent::discover(remote_registry("alice.example"), Query::new().name("who"))
        .tls(identified(&authority, "alice.example"))
        .require_tls(true)
        .build()
        .unwrap();
    assert_eq!(ask(&remote).await.unwrap(), "proxy.example");
    let stranger = RemoteRegistry::builder(registry.endpoint()).tls(trusting(&authority));
    let stranger = stranger.timeout(Duration::from_secs(5)).build().unwrap();
    let error = within(stranger.lookup("who")).await.unwrap_err();
    let shown = format!("{error:#} {error:?}");
    assert!(
        shown.contains("requires a certificate") || shown.contains("Missing"),
        "{shown}"
    );
}

#[tokio::test]
async fn certificates_without_a_tls_endpoint_are_a_mistake() {
    let authority = Authority::new("mistakes");
    let tls = server_of(&authority.server());
    let builder = LocalAgent::builder(who())
        .endpoint("tcp://127.0.0.1:0")
        .tls(tls);
    let error = builder.serve().await.expect_err("not encrypted");
    assert!(
        matches!(error, Error::InvalidSetting { setting: "tls", .. }),
        "{error:?}"
    );
    let builder = LocalAgent::builder(who()).endpoint("tls://127.0.0.1:0");
    let error = builder.serve().await.expect_err("no certificate");
    assert!(
        format!("{error:#}").contains("needs a certificate"),
        "{error:#}"
    );
    let named = TlsClient::new().server_name("no name");
    let builder = RemoteAgent::builder("tls://127.0.0.1:1").tls(named);
    assert!(builder.build().is_err());
}
