//! Certificates and failures of the carrier TLS.

#![cfg(feature = "tls")]
#![allow(clippy::expect_used, reason = "an unexpected result fails the test")]

#[path = "common/authority.rs"]
mod authority;
mod common;

use std::{fs, sync::Arc};

use agentwire_transport::{
    CertificateProblem::{self, *},
    Connection, Connector, Endpoint, EndpointConnector, Error, Listener, ProbeResult, TcpOptions,
    TlsClient, TlsError, TlsServer, connect,
};
use authority::{Authority, Purpose, Wanted};
use common::within;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

async fn bind(tls: TlsServer) -> Listener {
    let endpoint = "tls://127.0.0.1:0".parse().expect("endpoint");
    Listener::bind_tls(&endpoint, tls).await.expect("bind")
}

fn connector(endpoint: &Endpoint, tls: TlsClient) -> EndpointConnector {
    EndpointConnector::new(endpoint.clone(), TcpOptions::new()).with_tls(tls)
}

/// What both sides found: the client while connecting or at its first read, the server in its
/// handshake.
async fn outcome(
    server: TlsServer,
    client: TlsClient,
) -> (Result<Connection, TlsError>, Result<Connection, TlsError>) {
    let mut listener = bind(server).await;
    let connector = connector(listener.endpoint(), client);
    let connecting = async {
        let mut connection = match connector.connect().await {
            Ok(connection) => connection,
            Err(Error::Tls { source, .. }) => return Err(source),
            Err(other) => panic!("{other:?}"),
        };
        // The server may refuse the client after the handshake of the client.
        connection.write_all(b"request").await.expect("write");
        let mut answer = [0; 2];
        match connection.read_exact(&mut answer).await {
            Ok(_) => Ok(connection),
            Err(error) => {
                let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
                Err(TlsError::clone(inner.expect("a TLS error")))
            }
        }
    };
    let serving = async {
        let mut connection = listener.accept().await.expect("accept");
        let result = connection.handshake().await;
        if result.is_err() {
            // The client must be able to read the alert.
            connection.shutdown().await.expect("shutdown");
            let _ = connection.read_to_end(&mut Vec::new()).await;
        } else {
            connection.write_all(b"ok").await.expect("write");
        }
        result
            .map(|()| connection)
            .map_err(|error| error.tls().cloned().expect("a TLS error"))
    };
    within(async { tokio::join!(connecting, serving) }).await
}

fn trusting(authority: &Authority) -> TlsClient {
    TlsClient::new().ca(authority.file()).expect("ca")
}

/// Checks that the client does not accept the server, and that the server knows why.
async fn check_server(server: TlsServer, client: TlsClient, problem: CertificateProblem) {
    let (client, server) = outcome(server, client).await;
    assert_eq!(
        client.expect_err("refused"),
        TlsError::Certificate(problem.clone())
    );
    match (server.expect_err("refused"), problem) {
        // TLS has no alert for a wrong name.
        (TlsError::Refused(Other(told)), WrongName) => assert!(told.contains("bad_certificate")),
        // TLS has one alert for both.
        (TlsError::Refused(told), NotYetValid) => assert_eq!(told, Expired),
        (found, problem) => assert_eq!(found, TlsError::Refused(problem)),
    }
}

/// Checks that the server does not accept the client, and that the client knows why.
async fn check_client(server: TlsServer, client: TlsClient, problem: CertificateProblem) {
    let (client, server) = outcome(server, client).await;
    assert_eq!(
        server.expect_err("refused"),
        TlsError::Certificate(problem.clone())
    );
    let told = if problem == NotYetValid {
        Expired
    } else {
        problem
    };
    assert_eq!(client.expect_err("refused"), TlsError::Refused(told));
}

#[tokio::test]
async fn both_sides_know_the_certificate_of_the_other() {
    let authority = Authority::new("both");
    let (server, client) = (authority.server(), authority.client("client.example"));
    let server = TlsServer::from_pem(server.certificate, server.key).expect("server");
    let server = server.client_ca(authority.file()).expect("ca");
    let client = trusting(&authority).identity(client.certificate, client.key);
    let (client, server) = outcome(server, client.expect("identity")).await;
    let (client, server) = (client.expect("client"), server.expect("server"));
    let seen = server.peer().certificate().expect("of the client");
    assert_eq!(seen.dns_names(), ["client.example"]);
    assert_eq!(seen.uris(), ["spiffe://example/client"]);
    let seen = client.peer().certificate().expect("of the server");
    assert_eq!(seen.dns_names(), ["localhost"]);
}

#[tokio::test]
async fn a_server_without_a_ca_for_clients_accepts_clients_without_certificates() {
    let authority = Authority::new("none");
    let server = authority.server();
    let server = TlsServer::from_pem(server.certificate, server.key).expect("server");
    let (client, server) = outcome(server, trusting(&authority)).await;
    assert!(client.is_ok() && server.expect("server").peer().certificate().is_none());
}

#[tokio::test]
async fn both_sides_say_why_the_certificate_of_a_server_is_not_accepted() {
    let (authority, other) = (Authority::new("trusted"), Authority::new("other"));
    let localhost = ["localhost", "127.0.0.1"];
    let valid = Wanted {
        names: &localhost,
        ..Wanted::default()
    };
    let years = |years| Wanted {
        years: Some(years),
        ..valid
    };
    let elsewhere = Wanted {
        names: &["elsewhere.example"],
        ..valid
    };
    let for_clients = Wanted {
        purpose: Purpose::Client,
        ..valid
    };
    for (issued, problem) in [
        (other.issue(valid), UnknownIssuer),
        (authority.issue(years((2001, 2002))), Expired),
        (authority.issue(years((2080, 2081))), NotYetValid),
        (authority.issue(elsewhere), WrongName),
        (authority.issue(for_clients), WrongPurpose),
    ] {
        let server = TlsServer::from_pem(issued.certificate, issued.key).expect("server");
        check_server(server, trusting(&authority), problem).await;
    }
    let (good, bad) = (authority.issue(valid), authority.issue(valid));
    let client = trusting(&authority).crl(authority.revoke(&[&bad]));
    let client = client.expect("revocation list");
    let server = TlsServer::from_pem(&bad.certificate, &bad.key).expect("server");
    check_server(server, client.clone(), Revoked).await;
    let server = TlsServer::from_pem(&good.certificate, &good.key).expect("server");
    assert!(outcome(server, client).await.0.is_ok());
}

#[tokio::test]
async fn both_sides_say_why_the_certificate_of_a_client_is_not_accepted() {
    let (authority, other) = (Authority::new("trusted"), Authority::new("other"));
    let issued = authority.server();
    let server = TlsServer::from_pem(issued.certificate, issued.key).expect("server");
    let server = server.client_ca(authority.file()).expect("ca");
    let valid = Wanted {
        names: &["client.example"],
        ..Wanted::default()
    };
    let years = |years| Wanted {
        years: Some(years),
        ..valid
    };
    let for_servers = Wanted {
        purpose: Purpose::Server,
        ..valid
    };
    check_client(server.clone(), trusting(&authority), Missing).await;
    let optional = server.clone().client_auth_optional();
    assert!(
        outcome(optional.clone(), trusting(&authority))
            .await
            .0
            .is_ok()
    );
    for (issued, problem) in [
        (other.issue(valid), UnknownIssuer),
        (authority.issue(years((2001, 2002))), Expired),
        (authority.issue(years((2080, 2081))), NotYetValid),
        (authority.issue(for_servers), WrongPurpose),
    ] {
        let client = trusting(&authority).identity(issued.certificate, issued.key);
        let client = client.expect("identity");
        check_client(server.clone(), client.clone(), problem.clone()).await;
        check_client(optional.clone(), client, problem).await;
    }
    let (good, bad) = (authority.issue(valid), authority.issue(valid));
    let server = server.crl(authority.revoke(&[&bad])).expect("list");
    let client = trusting(&authority).identity(bad.certificate, bad.key);
    check_client(server.clone(), client.expect("identity"), Revoked).await;
    let client = trusting(&authority).identity(good.certificate, good.key);
    assert!(outcome(server, client.expect("identity")).await.0.is_ok());
}

#[tokio::test]
async fn the_expected_name_can_differ_from_the_host() {
    let authority = Authority::new("names");
    let issued = authority.issue(Wanted {
        names: &["agents.internal"],
        ..Wanted::default()
    });
    let server = TlsServer::from_pem(issued.certificate, issued.key).expect("server");
    let named = trusting(&authority).server_name("agents.internal");
    assert!(outcome(server.clone(), named).await.0.is_ok());
    let other = trusting(&authority).server_name("other.internal");
    check_server(server, other, WrongName).await;
    let invalid = trusting(&authority).server_name("no name");
    assert!(matches!(invalid.check(), Err(Error::TlsSetup { .. })));
}

#[tokio::test]
async fn a_server_that_does_not_speak_tls_is_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = listener.local_addr().expect("address").port();
    let endpoint = Endpoint::tls("127.0.0.1", port).expect("endpoint");
    let connector = connector(&endpoint, trusting(&Authority::new("plain")));
    for answer in [
        &b"\0\0\0\x02{}"[..],
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"",
    ] {
        let serving = async {
            let (mut stream, _) = listener.accept().await.expect("accept");
            let hello = stream.read(&mut [0; 1024]).await.expect("read");
            assert!(hello > 0);
            stream.write_all(answer).await.expect("write");
        };
        let (connected, ()) = within(async { tokio::join!(connector.connect(), serving) }).await;
        let expected = if answer.is_empty() {
            TlsError::Closed
        } else {
            TlsError::NotTls
        };
        match connected.expect_err("no TLS") {
            Error::Tls { source, .. } => assert_eq!(source, expected),
            // The end may arrive as a reset.
            Error::Connect { .. } if answer.is_empty() => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_client_that_does_not_speak_tls_can_be_answered_in_plain_text() {
    let authority = Authority::new("plain");
    let issued = authority.server();
    let tls = TlsServer::from_pem(issued.certificate, issued.key).expect("server");
    let mut listener = bind(tls).await;
    let Endpoint::Tls { port, .. } = *listener.endpoint() else {
        panic!("{listener:?}");
    };
    let mut client = TcpStream::connect(("127.0.0.1", port))
        .await
        .expect("connect");
    client.write_all(b"\0\0\0\x02{}").await.expect("write");
    let mut server = within(listener.accept()).await.expect("accept");
    assert!(server.needs_handshake());
    let error = within(server.handshake()).await.expect_err("not TLS");
    assert_eq!(error.tls(), Some(&TlsError::NotTls));
    let mut heard = [0; 6];
    within(server.read_exact(&mut heard))
        .await
        .expect("nothing was consumed");
    server.write_all(b"use TLS").await.expect("write");
    drop(server);
    let mut told = Vec::new();
    within(client.read_to_end(&mut told)).await.expect("read");
    assert_eq!(told, b"use TLS");
}

/// Returns both sides of a connection of a server with this certificate.
async fn pair(authority: &Authority, server: TlsServer) -> (Connection, Connection) {
    let (client, server) = outcome(server, trusting(authority)).await;
    (client.expect("client"), server.expect("server"))
}

#[tokio::test]
async fn new_connections_use_the_files_that_were_reloaded_and_old_ones_remain() {
    let authority = Authority::new("rotation");
    let (issued, next) = (authority.server(), authority.server());
    let tls = TlsServer::from_pem(&issued.certificate, &issued.key).expect("server");
    let der = |connection: &Connection| {
        let certificate = connection.peer().certificate().expect("certificate");
        certificate.der().to_vec()
    };
    assert!(!tls.reload_if_changed().expect("unchanged"));
    let (mut old, mut server) = pair(&authority, tls.clone()).await;

    // A certificate whose key has not been replaced is not used, and is reported once.
    let key = fs::read(&issued.key).expect("read");
    issued.replace_with(&next);
    fs::write(&issued.key, &key).expect("write");
    let error = tls.reload_if_changed().expect_err("half of a pair");
    let problem = std::error::Error::source(&error)
        .expect("source")
        .to_string();
    assert!(problem.contains("does not belong"), "{problem}");
    assert!(!tls.reload_if_changed().expect("reported before"));
    let (still, _server) = pair(&authority, tls.clone()).await;
    assert_eq!(der(&still), der(&old));

    issued.replace_with(&next);
    assert!(tls.reload_if_changed().expect("a pair again"));
    let (new, _server) = pair(&authority, tls.clone()).await;
    assert_ne!(der(&new), der(&old));
    server.write_all(b"on").await.expect("write");
    within(old.read_exact(&mut [0; 2])).await.expect("read");

    // A certificate that has expired never replaces a valid one.
    let expired = authority.issue(Wanted {
        names: &["localhost"],
        years: Some((2001, 2002)),
        ..Wanted::default()
    });
    issued.replace_with(&expired);
    assert!(tls.reload().is_err());
    let (still, _server) = pair(&authority, tls).await;
    assert_eq!(der(&still), der(&new));
}

#[tokio::test]
async fn a_client_uses_the_files_that_were_reloaded() {
    let authority = Authority::new("clients");
    let issued = authority.server();
    let server = TlsServer::from_pem(issued.certificate, issued.key).expect("server");
    let server = server.client_ca(authority.file()).expect("ca");
    let identity = authority.client("old.example");
    let client = trusting(&authority)
        .identity(&identity.certificate, &identity.key)
        .expect("identity");
    let name = async |client: &TlsClient| {
        let (_client, server) = outcome(server.clone(), client.clone()).await;
        let server = server.expect("server");
        server
            .peer()
            .certificate()
            .expect("certificate")
            .dns_names()[0]
            .clone()
    };
    assert_eq!(name(&client).await, "old.example");
    identity.replace_with(&authority.client("new.example"));
    assert_eq!(name(&client).await, "old.example");
    assert!(client.reload_if_changed().expect("reload"));
    assert_eq!(name(&client).await, "new.example");
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named_with_the_reason() {
    let authority = Authority::new("files");
    let (one, other) = (authority.server(), authority.server());
    let file = |name: &str, text: &str| {
        let path = authority.directory().join(name);
        fs::write(&path, text).expect("write");
        path
    };
    let (empty, missing) = (file("empty.pem", ""), authority.directory().join("missing"));
    let encrypted = file(
        "encrypted.key",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    for (certificate, key, named, reason) in [
        (&one.certificate, &other.key, &other.key, "does not belong"),
        (&empty, &one.key, &empty, "no certificate"),
        (&one.certificate, &empty, &empty, "no private key"),
        (&one.certificate, &encrypted, &encrypted, "is encrypted"),
        (
            &one.certificate,
            &one.certificate,
            &one.certificate,
            "no private key",
        ),
        (&missing, &one.key, &missing, "No such file"),
    ] {
        let server = TlsServer::from_pem(certificate, key).expect_err(reason);
        let client = TlsClient::new().ca(authority.file()).expect("ca");
        let client = client.identity(certificate, key).expect_err(reason);
        for error in [server, client] {
            let Error::TlsFile { path, source } = error else {
                panic!("{error:?}");
            };
            assert_eq!(
                (&path, source.to_string().contains(reason)),
                (named, true),
                "{source}"
            );
        }
    }
    assert!(TlsClient::new().ca(&empty).is_err());
    let server = TlsServer::from_pem(&one.certificate, &one.key).expect("server");
    assert!(server.clone().client_ca(&empty).is_err());
    assert!(server.crl(authority.file()).is_err(), "it contains no list");
}

#[tokio::test]
async fn a_listener_needs_a_certificate_and_can_be_made_of_a_tcp_listener() {
    let endpoint: Endpoint = "tls://127.0.0.1:0".parse().expect("endpoint");
    let error = Listener::bind(&endpoint).await.expect_err("no certificate");
    assert!(matches!(error, Error::TlsSetup { .. }), "{error:?}");
    let error = connect(&endpoint).await.expect_err("port 0");
    assert!(matches!(error, Error::InvalidEndpoint { .. }), "{error:?}");

    let authority = Authority::new("sockets");
    let issued = authority.server();
    let tls = TlsServer::from_pem(issued.certificate, issued.key).expect("server");
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let listener = Listener::try_from(socket).expect("listener");
    let listener = listener.with_tls(tls.clone()).expect("TLS");
    assert!(
        listener
            .endpoint()
            .to_string()
            .starts_with("tls://127.0.0.1:")
    );
    let endpoint = Endpoint::memory("no socket").expect("endpoint");
    let memory = Listener::bind(&endpoint).await.expect("bind");
    let error = memory.with_tls(tls).expect_err("no socket");
    assert!(matches!(error, Error::TlsSetup { .. }), "{error:?}");
}

/// Session tickets of another implementation must not look like an unexpected answer.
#[tokio::test]
async fn session_tickets_are_not_unexpected_data() {
    let authority = Authority::new("tickets");
    let issued = authority.server();
    let pem = |path| fs::read(path).expect("read");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("version")
        .with_no_client_auth()
        .with_single_cert(
            vec![pem_item(&pem(&issued.certificate))],
            pem_item(&pem(&issued.key)),
        )
        .expect("certificate");
    config.send_tls13_tickets = 4;
    let server = TlsServer::from_config(Arc::new(config));
    let mut listener = bind(server).await;
    let connector = connector(listener.endpoint(), trusting(&authority));
    let accepted = async {
        let mut server = listener.accept().await.expect("accept");
        server.handshake().await.expect("handshake");
        server.flush().await.expect("flush");
        server
    };
    let (client, mut server) = within(async { tokio::join!(connector.connect(), accepted) }).await;
    let mut client = client.expect("connect");
    for _ in 0..100 {
        // Polling the runtime lets the tickets arrive.
        tokio::task::yield_now().await;
        if client.probe() == ProbeResult::Idle {
            break;
        }
    }
    assert_eq!(client.probe(), ProbeResult::Idle);
    server.write_all(b"ok").await.expect("write");
    within(client.read_exact(&mut [0; 2])).await.expect("read");
}

fn pem_item<T: rustls::pki_types::pem::PemObject>(pem: &[u8]) -> T {
    T::from_pem_slice(pem).expect("PEM")
}

#[tokio::test]
async fn an_end_without_a_notification_is_an_end() {
    let authority = Authority::new("ends");
    let issued = authority.server();
    let tls = TlsServer::from_pem(issued.certificate, issued.key).expect("server");
    let (mut client, server) = pair(&authority, tls).await;
    // Dropping a connection sends no close_notify.
    drop(server);
    let read = within(client.read(&mut [0; 8])).await;
    assert!(matches!(read, Ok(0)), "{read:?}");
}
