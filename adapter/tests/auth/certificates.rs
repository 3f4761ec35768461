//! Callers that are known by their certificates, and changed certificates in the record.

use std::{fs, time::Duration};

use agentwire::{
    LocalAgent, Message, Principal, RemoteAgent, RequestContext, TlsClient, TlsServer, agent_fn,
    auth::{AuditEvent, AuditKind, Certificates, Security},
};

use super::{authority::Authority, support::Events};

/// Waits for the next change of certificates in the record.
async fn change(events: &Events) -> AuditEvent {
    loop {
        let mut taken = events.take().into_iter();
        if let Some(change) = taken.find(|event| event.kind == AuditKind::CertificateChange) {
            return change;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_certificate_names_its_principal_and_changed_certificates_are_recorded() {
    let authority = Authority::new("auth");
    let issued = authority.server();
    let tls = TlsServer::from_pem(&issued.certificate, &issued.key).unwrap();
    let tls = tls.client_ca(authority.file()).unwrap();
    let alice = Principal::new("alice").with_role("agent-consumer");
    let events = Events::default();
    let who = agent_fn("who", |_: Message, context: RequestContext| async move {
        let principal = context.principal().map_or("nobody", Principal::name);
        Ok(Message::agent(principal))
    });
    let server = LocalAgent::builder(who)
        .endpoint("tls://127.0.0.1:0")
        .tls(tls)
        .security(
            Security::new()
                .authenticate(Certificates::new().allow("alice.internal", alice))
                .audit(events.clone()),
        )
        .serve()
        .await
        .unwrap();
    let call = async |name: &str| {
        let client = authority.client(name);
        let tls = TlsClient::new().ca(authority.file()).unwrap();
        let tls = tls.identity(client.certificate, client.key).unwrap();
        let remote = RemoteAgent::builder(server.endpoint())
            .tls(tls)
            .build()
            .unwrap();
        remote.process(Message::user("?")).await
    };
    assert_eq!(call("alice.internal").await.unwrap().text(), Some("alice"));
    let error = call("mallory.internal").await.unwrap_err();
    assert_eq!(error.code().as_str(), "UNAUTHENTICATED");
    assert_eq!(events.denied(AuditKind::Authentication), ["no credential"]);

    issued.replace_with(&authority.server());
    assert!(change(&events).await.is_allowed);
    fs::write(&issued.certificate, "not a certificate").unwrap();
    let refused = change(&events).await;
    assert!(
        !refused.is_allowed && refused.reason.is_some(),
        "{refused:?}"
    );
    assert_eq!(call("alice.internal").await.unwrap().text(), Some("alice"));
}
