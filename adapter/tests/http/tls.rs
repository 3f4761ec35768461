//! HTTP over TLS: the protocols that the handshake chooses, and the certificates of callers.

#[path = "../common/authority.rs"]
pub(crate) mod authority;

use std::time::Duration;

use agentwire::{
    Endpoint, LocalAgent, Message, RemoteAgent, RequestContext, RetryPolicy, TlsClient, TlsServer,
    agent_fn,
    transport::{Connection, Connector, EndpointConnector, Listener, TcpOptions},
};
use authority::Authority;
use tokio_util::task::AbortOnDropHandle;

use crate::{
    common::within,
    peer::{Peer, message},
};

/// A server whose agent answers with the DNS name of its caller.
async fn serve(authority: &Authority) -> LocalAgent {
    let who = agent_fn("who", |_: Message, context: RequestContext| async move {
        let certificate = context.peer().certificate();
        let name = certificate.and_then(|certificate| certificate.dns_names().first());
        Ok(Message::agent(name.map_or("nobody", String::as_str)))
    });
    let issued = authority.server();
    let tls = TlsServer::from_pem(&issued.certificate, &issued.key).unwrap();
    let tls = tls.client_ca(authority.file()).unwrap();
    let builder = LocalAgent::builder(who)
        .endpoint("https://127.0.0.1:0/agents")
        .tls(tls.client_auth_optional())
        .idle_timeout(Duration::MAX);
    within(builder.serve()).await.unwrap()
}

fn trusting(authority: &Authority) -> TlsClient {
    TlsClient::new().ca(authority.file()).unwrap()
}

fn identified(authority: &Authority, name: &str) -> TlsClient {
    let issued = authority.client(name);
    let tls = trusting(authority);
    tls.identity(issued.certificate, issued.key).unwrap()
}

async fn connect(endpoint: &Endpoint, tls: TlsClient) -> Connection {
    let (host, port) = endpoint.host_and_port().unwrap();
    let below = Endpoint::tls(host, port).unwrap();
    let connector = EndpointConnector::new(below, TcpOptions::new());
    let connecting = connector.with_tls(tls);
    let mut connection = within(connecting.connect()).await.unwrap();
    within(connection.handshake()).await.unwrap();
    connection
}

#[tokio::test]
async fn the_handshake_chooses_between_both_versions_of_http() {
    let authority = Authority::new("alpn");
    let server = serve(&authority).await;
    for (offered, chosen) in [
        (&[b"h2".as_slice(), b"http/1.1"][..], Some(b"h2".as_slice())),
        (&[b"http/1.1"], Some(b"http/1.1")),
        (&[], None),
    ] {
        let tls = trusting(&authority).protocols(offered);
        let connection = connect(server.endpoint(), tls).await;
        assert_eq!(connection.protocol(), chosen);
        if chosen != Some(b"h2") {
            let mut peer = Peer::over(connection);
            let reply = peer.ask("/agents/process", &message("")).await;
            assert_eq!(reply.status, 200);
        }
    }
}

#[tokio::test]
async fn agents_know_the_certificates_of_callers_over_https_and_wss() {
    let authority = Authority::new("identity");
    let server = serve(&authority).await;
    let (host, port) = server.endpoint().host_and_port().unwrap();
    let mut endpoints = vec![server.endpoint().to_string()];
    if cfg!(feature = "websocket") {
        endpoints.push(format!("wss://{host}:{port}/agents/ws"));
    }
    for endpoint in endpoints {
        for (tls, name) in [
            (identified(&authority, "alice.example"), "alice.example"),
            (trusting(&authority), "nobody"),
        ] {
            let builder = RemoteAgent::builder(&*endpoint).tls(tls);
            let remote = builder.retry(RetryPolicy::never()).build().unwrap();
            for _ in 0..3 {
                let reply = within(remote.process(Message::user("?"))).await.unwrap();
                assert_eq!(reply.text(), Some(name), "{endpoint}");
            }
            assert_eq!(remote.stats().open, 1, "{endpoint}");
        }
    }
}

#[tokio::test]
async fn a_connection_does_not_outlive_the_certificate_of_its_peer() {
    let authority = Authority::new("expiry");
    let server = serve(&authority).await;
    let issued = authority.client_for("short.example", Duration::from_secs(3600));
    let tls = trusting(&authority).protocols(&[b"http/1.1"]);
    let tls = tls.identity(issued.certificate, issued.key).unwrap();
    let mut peer = Peer::over(connect(server.endpoint(), tls).await);
    for advanced in [0, 3000] {
        advance(Duration::from_secs(advanced)).await;
        let reply = peer.ask("/agents/process", &message("")).await;
        assert!(reply.text().contains("short.example"), "{}", reply.text());
    }
    advance(Duration::from_secs(700)).await;
    assert_eq!(peer.rest().await, b"");
}

/// Advances the clock of tokio, on which the deadlines of sessions depend.
async fn advance(duration: Duration) {
    tokio::time::pause();
    tokio::time::advance(duration).await;
    tokio::time::resume();
}

#[tokio::test]
async fn a_peer_without_tls_is_told_about_https() {
    let authority = Authority::new("plain");
    let server = serve(&authority).await;
    let mut peer = Peer::connect(server.endpoint()).await;
    peer.send("GET /live HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let rest = peer.rest().await;
    let rest = String::from_utf8_lossy(&rest);
    assert!(rest.starts_with("HTTP/1.1 400 "), "{rest}");
    assert!(rest.contains("https://"), "{rest}");
}

/// Completes the handshakes of connections without HTTP/2, and closes the connections. From the
/// second one on, waits for two connections before it begins their handshakes.
async fn shake_hands_in_pairs(mut listener: Listener) {
    let mut count = 1;
    loop {
        let mut connections = Vec::new();
        while connections.len() < count {
            connections.push(listener.accept().await.unwrap());
        }
        for mut connection in connections {
            connection.handshake().await.unwrap();
        }
        count = 2;
    }
}

#[tokio::test]
async fn connections_to_a_server_without_http2_do_not_wait_for_each_other() {
    let authority = Authority::new("http1-only");
    let issued = authority.server();
    let tls = TlsServer::from_pem(&issued.certificate, &issued.key).unwrap();
    let endpoint = Endpoint::tls("127.0.0.1", 0).unwrap();
    let listener = Listener::bind_tls(&endpoint, tls.protocols(&[b"http/1.1"])).await;
    let listener = listener.unwrap();
    let (_, port) = listener.endpoint().host_and_port().unwrap();
    let _server = AbortOnDropHandle::new(tokio::spawn(shake_hands_in_pairs(listener)));
    let builder = RemoteAgent::builder(format!("https://127.0.0.1:{port}"));
    let builder = builder
        .tls(trusting(&authority))
        .retry(RetryPolicy::never());
    let remote = builder.build().unwrap();
    let call = async || {
        within(remote.process(Message::user("x")))
            .await
            .unwrap_err()
    };
    let first = call().await;
    let (second, third) = tokio::join!(call(), call());
    for error in [first, second, third] {
        assert_ne!(error.code().as_str(), "CONNECTION_FAILED", "{error:#}");
    }
}
