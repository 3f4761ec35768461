//! Denied requests, as observers learn of them.

use std::{sync::Arc, time::Duration};

use agentwire::{
    LocalAgent, Message, Principal, RemoteAgent, RetryPolicy, agent_fn,
    auth::{Policy, Quota, Role, Rule, Security, Verb},
    observer::{Observer, Outcome, RequestEvent},
    transport::internal::Mutex,
};

use crate::support::{bearer, tokens};

/// The outcomes of requests, in order.
#[derive(Default)]
struct Outcomes(Mutex<Vec<(String, String)>>);

impl Observer for Outcomes {
    fn request_ended(&self, request: &RequestEvent<'_>, outcome: Outcome<'_>, _: Duration) {
        let outcome = outcome.code().to_owned();
        self.0.lock().push((request.name.to_owned(), outcome));
    }
}

#[tokio::test]
async fn denied_requests_are_reported_with_their_codes() {
    let rule = Rule::new([Verb::Call]).agents(["weather"]);
    let policy = Policy::new().role(Role::new("caller").allow(rule));
    let principals = [
        Principal::new("alice").with_role("caller"),
        Principal::new("bob"),
    ];
    let security = Security::new()
        .authenticate(tokens(principals))
        .authorize(policy)
        .quota(Quota::new().requests_per_minute(60).burst(2));
    let outcomes = Arc::new(Outcomes::default());
    let weather = agent_fn("weather", |message: Message| async { Ok(message) });
    let server = LocalAgent::builder(weather)
        .security(security)
        .observer(outcomes.clone())
        .endpoint("memory://observed-denials")
        .serve()
        .await
        .unwrap();
    let client = || {
        RemoteAgent::builder(server.endpoint())
            .name("weather")
            .retry(RetryPolicy::never())
            .allow_plaintext_credentials(true)
    };
    let alice = client().credentials(bearer("alice")).build().unwrap();
    let bob = client().credentials(bearer("bob")).build().unwrap();
    let mallory = client().credentials(bearer("mallory")).build().unwrap();
    alice.process(Message::user("1")).await.unwrap();
    bob.process(Message::user("2")).await.unwrap_err();
    mallory.process(Message::user("3")).await.unwrap_err();
    alice.process(Message::user("4")).await.unwrap();
    alice.process(Message::user("5")).await.unwrap_err();
    let expected = [
        "OK",
        "PERMISSION_DENIED",
        "UNAUTHENTICATED",
        "OK",
        "RATE_LIMITED",
    ];
    let expected = expected.map(|code| ("weather".to_owned(), code.to_owned()));
    assert_eq!(*outcomes.0.lock(), expected);
    server.stop().await;
}
