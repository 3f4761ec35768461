//! WebSocket over TLS.

use super::*;

#[tokio::test]
async fn an_agent_at_wss_knows_the_certificate_of_its_caller() {
    let authority = Authority::new("wss");
    let tls = server_of(&authority.server())
        .client_ca(authority.file())
        .expect("ca");
    let server = serve_at("wss://127.0.0.1:0/agents", tls).await;
    assert!(
        server
            .endpoint()
            .to_string()
            .starts_with("wss://127.0.0.1:")
    );
    for in_flight in [1, 8] {
        let remote = client(server.endpoint(), identified(&authority, "alice.example"))
            .max_in_flight_per_connection(in_flight)
            .require_tls(true)
            .build()
            .unwrap();
        for _ in 0..3 {
            assert_eq!(ask(&remote).await.unwrap(), "alice.example");
        }
        assert_eq!(remote.stats().open, 1, "the connection is reused");
    }
    within(server.stop()).await;
}

#[tokio::test]
async fn failures_of_tls_at_wss_are_connect_errors_that_say_why() {
    let (authority, other) = (Authority::new("wss"), Authority::new("other"));
    let tls = server_of(&authority.server());
    let server = serve_at(
        "wss://127.0.0.1:0",
        tls.client_ca(authority.file()).expect("ca"),
    )
    .await;
    let cases = [
        (trusting(&authority), TlsError::Refused(Missing)),
        (trusting(&other), TlsError::Certificate(UnknownIssuer)),
        (
            identified(&authority, "a.example").server_name("other.example"),
            TlsError::Certificate(CertificateProblem::WrongName),
        ),
    ];
    for (tls, expected) in cases {
        let remote = client(server.endpoint(), tls).build().unwrap();
        assert_eq!(problem(&ask(&remote).await.unwrap_err()), expected);
    }
}

#[tokio::test]
async fn peers_of_the_wrong_kind_at_ws_and_wss_are_told_so() {
    let authority = Authority::new("wss");
    let secure = serve_at("wss://127.0.0.1:0", server_of(&authority.server())).await;
    let plain = LocalAgent::serve(who(), "ws://127.0.0.1:0").await.unwrap();
    let at = |scheme, server: &LocalAgent| {
        let (_, port) = server.endpoint().host_and_port().unwrap();
        let endpoint: Endpoint = format!("{scheme}://127.0.0.1:{port}").parse().unwrap();
        client(&endpoint, trusting(&authority)).build().unwrap()
    };
    let error = ask(&at("ws", &secure)).await.unwrap_err();
    let shown = format!("{error:#}");
    assert!(
        shown.contains("status 400") && shown.contains("use wss://"),
        "{shown}"
    );
    assert!(!error.was_sent(), "{error:?}");
    let error = ask(&at("wss", &plain)).await.unwrap_err();
    assert_eq!(problem(&error), TlsError::NotTls);
    let error = ask(&at("tls", &plain)).await.unwrap_err();
    assert_eq!(problem(&error), TlsError::NotTls);
    let error = ask(&at("ws", &plain)).await;
    assert_eq!(error.unwrap(), "nobody");
}

#[tokio::test]
async fn silent_peers_at_wss_keep_no_honest_call_waiting() {
    let authority = Authority::new("wss");
    let server = serve_at("wss://127.0.0.1:0", server_of(&authority.server())).await;
    let (_, port) = server.endpoint().host_and_port().unwrap();
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(TcpStream::connect(("127.0.0.1", port)).await.unwrap());
    }
    let remote = client(server.endpoint(), trusting(&authority))
        .build()
        .unwrap();
    assert_eq!(ask(&remote).await.unwrap(), "nobody");
}
