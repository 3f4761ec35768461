//! Logs: no events at info in healthy operation, never the contents of messages, and a server that
//! cannot be reached.

use crate::common::{ScriptedAgent, logged, memory, within};
use agentwire::{LocalAgent, Message, RemoteAgent, map};
use tracing::Level;

#[test]
fn a_call_is_logged_by_both_sides_without_its_contents() {
    let said = logged(async {
        let server = LocalAgent::serve(ScriptedAgent, memory("log"))
            .await
            .unwrap();
        for in_flight in [1, 4] {
            let builder = RemoteAgent::builder(server.endpoint()).name("secretary");
            let remote = builder
                .max_in_flight_per_connection(in_flight)
                .build()
                .unwrap();
            let message =
                || Message::user("the password is swordfish").with_metadata("token", "hunter2");
            within(remote.process(message())).await.unwrap();
            let failing = message().with_metadata("do", "fail");
            within(remote.process(failing)).await.unwrap_err();
            let mut stream = remote.stream(message());
            while within(stream.next()).await.is_some() {}
            within(remote.execute("none", map! {"key": "open sesame"}))
                .await
                .unwrap_err();
            within(remote.close()).await;
        }
        within(server.stop()).await;
    });
    let text = said
        .iter()
        .map(|(level, text)| format!("{level} {text}\n"))
        .collect::<String>();
    for (level, said) in &said {
        assert!(*level > Level::INFO, "{level} {said}");
    }
    for secret in ["swordfish", "hunter2", "open sesame"] {
        assert!(!text.contains(secret), "{text}");
    }
    // Endpoint, agent, method and id of the calls, their outcome and duration; connections and
    // requests.
    for part in [
        "call endpoint=memory://log",
        "agent=\"secretary\" method=\"process\" id=",
        "method=\"stream\"",
        "method=\"execute\"",
        " elapsed=",
        "message=answered",
        "code=OUT_OF_STOCK",
        "connection endpoint=memory://log",
        "request id=",
        "name=\"scripted\"",
        "request refused",
        "message=connection closed",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn a_wait_for_a_server_is_logged_once_with_its_end() {
    let endpoint = memory("outage");
    let said = logged(async {
        tokio::time::pause();
        let remote = RemoteAgent::new(&endpoint).unwrap();
        for _ in 0..3 {
            let calls = [(); 3].map(|()| remote.process(Message::user("x")));
            for result in futures_util::future::join_all(calls).await {
                result.unwrap_err();
            }
        }
        let server = LocalAgent::serve(ScriptedAgent, &endpoint).await.unwrap();
        for _ in 0..3 {
            remote.process(Message::user("x")).await.unwrap();
        }
        within(server.stop()).await;
    });
    let logged: Vec<_> = said
        .iter()
        .filter(|(level, _)| *level <= Level::INFO)
        .collect();
    let [(first, waiting), (second, reached)] = &logged[..] else {
        panic!("{logged:?}");
    };
    assert_eq!((*first, *second), (Level::WARN, Level::INFO));
    for part in [
        &endpoint.to_string()[..],
        "waiting for it",
        "refused",
        "waited=1",
    ] {
        assert!(waiting.contains(part), "{part} in {waiting}");
    }
    assert!(reached.contains(&endpoint.to_string()), "{reached}");
    assert!(reached.contains("reached again"), "{reached}");
}
