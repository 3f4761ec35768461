//! Credentials in the header `authorization`.

use agentwire::{
    LocalAgent, Message, Principal, RequestContext, agent_fn,
    auth::{Policy, Security, TokenDigest, Tokens},
    map,
};

use crate::{
    common::logged,
    raw::{PROCESS, RawClient, framed, request},
    serve_with,
};

const TOKEN: &str = "secret-OMEGA-token";

#[test]
fn the_header_authorization_is_a_credential_and_is_shown_nowhere() {
    let logs = logged(async {
        let echo = agent_fn("echo", |message: Message, context: RequestContext| {
            let name = context.principal().map(|known| known.name().to_owned());
            async move {
                let content = map! {
                    "principal": (name.unwrap_or_default()),
                    "metadata": (message.metadata),
                };
                Ok(Message::agent(content))
            }
        });
        let alice = Principal::new("alice").with_role("agent-consumer");
        let tokens = Tokens::new().allow(TokenDigest::of(TOKEN), alice);
        let security = Security::new()
            .authenticate(tokens)
            .authorize(Policy::new());
        let server = serve_with(LocalAgent::builder(echo).security(security)).await;
        let mut client = RawClient::connect(server.endpoint()).await;
        for (value, expected) in [
            (format!("Bearer {TOKEN}"), "alice"),
            (format!("Bearer {TOKEN}-wrong"), "UNAUTHENTICATED"),
            (TOKEN.to_owned(), "UNAUTHENTICATED"),
        ] {
            let headers = [("authorization", &*value)];
            let answer = client
                .exchange(PROCESS, &headers, framed(&request("hello")))
                .await
                .unwrap();
            let body = String::from_utf8_lossy(&answer.body);
            assert!(body.contains(expected), "{value}: {answer:?}");
            assert!(!body.contains("OMEGA"), "{value}: {answer:?}");
        }
        server.stop().await;
    });
    assert!(!logs.is_empty());
    for (level, text) in logs {
        assert!(!text.contains("OMEGA"), "{level}: {text}");
    }
}
