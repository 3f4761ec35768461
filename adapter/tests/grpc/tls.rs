//! gRPC over TLS.

#[path = "../common/authority.rs"]
mod authority;

use agentwire::{Message, TlsClient, TlsServer};
use authority::Authority;

use crate::{client_builder, common::within};

#[tokio::test]
async fn an_agent_is_called_over_tls_with_the_protocol_h2() {
    let authority = Authority::new("grpc");
    let issued = authority.server();
    let tls = TlsServer::from_pem(&issued.certificate, &issued.key).unwrap();
    let server = crate::builder().endpoint("grpcs://127.0.0.1:0").tls(tls);
    let server = server.serve().await.unwrap();
    assert!(
        server
            .endpoint()
            .to_string()
            .starts_with("grpcs://127.0.0.1:")
    );
    let trusting = TlsClient::new().ca(authority.file()).unwrap();
    let remote = client_builder(server.endpoint(), "echo")
        .tls(trusting)
        .build()
        .unwrap();
    let reply = within(remote.process(Message::user("x"))).await.unwrap();
    assert_eq!(reply.content, "x");

    let stranger = TlsClient::new().ca(Authority::new("other").file()).unwrap();
    let remote = client_builder(server.endpoint(), "echo")
        .tls(stranger)
        .build()
        .unwrap();
    let error = within(remote.process(Message::user("x")))
        .await
        .unwrap_err();
    assert!(error.is_connect() && !error.was_sent(), "{error:?}");
    assert!(error.to_string().contains("grpcs://127.0.0.1:"), "{error}");
}
