//! Peers that write their envelopes by hand.

use super::{ServedRegistry, WATCH, agent, ask, chunk, respond};
use crate::common::{error_of, within};
use agentwire::{
    Map, Value, map,
    registry::{InstanceRef, Registry},
};
use agentwire_codec::Body;

#[tokio::test]
async fn hand_written_envelopes_with_few_fields_are_enough() {
    let served = ServedRegistry::start("by-hand").await;
    let mut peer = served.peer().await;
    let register = r#"{"agent_name": "weather", "capabilities": {"languages": ["en"]}, "endpoint": "tcp://198.51.100.1:80", "metadata": {"zone": "b"}}"#;
    for _ in 0..2 {
        let answer = respond(&mut peer, "register", register).await;
        let expected = map! {"lease_seconds": 90.0, "heartbeat_seconds": 30.0};
        assert_eq!(answer, expected);
    }
    let beat = r#"{"agent_name": "weather", "status": "healthy"}"#;
    assert_eq!(respond(&mut peer, "heartbeat", beat).await, Map::new());

    let lookup = r#"{"method": "lookup", "agent_name": "weather"}"#;
    let answer = respond(&mut peer, "request", lookup).await;
    let found = &answer["registrations"][0];
    let keys: Vec<_> = found.as_map().unwrap().keys().collect();
    assert_eq!(
        keys,
        [
            "name",
            "endpoint",
            "instance",
            "capabilities",
            "metadata",
            "registered_at",
            "last_heartbeat"
        ]
    );
    assert_eq!(found["endpoint"].as_str(), Some("tcp://198.51.100.1:80"));
    assert_eq!(found["capabilities"]["languages"][0].as_str(), Some("en"));
    assert!(!answer.contains_key("next"));

    let find = r#"{"method": "find", "query": {"capabilities": ["languages.en"], "metadata": {"zone": "b"}}}"#;
    for (method, count) in [
        (r#"{"method": "list"}"#, 1),
        (find, 1),
        (r#"{"method": "find"}"#, 1),
        (r#"{"method": "find", "query": {"name": "nobody"}}"#, 0),
        (r#"{"method": "lookup", "agent_name": "nobody"}"#, 0),
    ] {
        let answer = respond(&mut peer, "request", method).await;
        let list = answer["registrations"].as_list().unwrap();
        assert_eq!(list.len(), count, "{method}");
    }
    for _ in 0..2 {
        let leave = r#"{"agent_name": "weather"}"#;
        assert_eq!(respond(&mut peer, "unregister", leave).await, Map::new());
    }
    let gone = ask(&mut peer, "heartbeat", beat).await;
    let Body::Error(gone) = gone else {
        panic!("{gone:?}")
    };
    assert_eq!(gone.code.as_str(), "AGENT_NOT_FOUND");
    let expected = map! {"reason": "not_registered", "agent_name": "weather"};
    assert_eq!(gone.details, expected);
}

#[tokio::test]
async fn only_the_owner_changes_a_registration_and_readers_do_not_learn_the_key() {
    let served = ServedRegistry::start("owner-by-hand").await;
    let mut peer = served.peer().await;
    let fields = r#""agent_name": "weather", "endpoint": "tcp://198.51.100.1:80""#;
    let own = format!(r#"{{{fields}, "instance": "a", "owner": "hunter2"}}"#);
    respond(&mut peer, "register", &own).await;
    respond(&mut peer, "heartbeat", &own).await;
    let mut stranger = served.peer().await;
    for claim in [
        r#""instance": "a""#,
        r#""instance": "b""#,
        r#""instance": "a", "owner": "hunter3""#,
        r#""owner": """#,
    ] {
        for kind in ["register", "heartbeat", "unregister"] {
            let answer = ask(&mut stranger, kind, &format!("{{{fields}, {claim}}}")).await;
            let Body::Error(error) = answer else {
                // A predecessor that unregisters late is no error.
                assert_eq!(
                    (kind, claim),
                    ("unregister", r#""instance": "b""#),
                    "{answer:?}"
                );
                continue;
            };
            assert_eq!(error.code.as_str(), "DUPLICATE_AGENT", "{kind} {claim}");
            let reason = error.details["reason"].as_str().unwrap();
            let replaced = kind == "heartbeat" && claim.contains("\"b\"");
            assert_eq!(reason, if replaced { "replaced" } else { "owned" });
            if reason == "owned" {
                let seconds = error.details["retry_seconds"].as_f64().unwrap();
                assert!((0.0..=45.0).contains(&seconds), "{seconds}");
            }
        }
    }
    let list = respond(&mut stranger, "request", r#"{"method": "list"}"#).await;
    assert_eq!(list["registrations"].as_list().unwrap().len(), 1);
    assert!(!Value::Map(list).to_string().contains("hunter2"));
    stranger.send_frame(WATCH).await;
    assert!(!chunk(&mut stranger).await.to_string().contains("hunter2"));
    respond(&mut peer, "unregister", &own).await;
    assert!(served.registry.list().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_hand_written_watch_reads_like_any_other_stream() {
    let served = ServedRegistry::start("watch-by-hand").await;
    let weather = agent("weather", 80).with_version("1.2.3");
    served.registry.register(weather.clone()).await.unwrap();
    let mut peer = served.peer().await;
    peer.send_frame(WATCH).await;
    let first = chunk(&mut peer).await;
    assert_eq!(first["event"].as_str(), Some("snapshot"));
    assert_eq!(first["more"].as_bool(), Some(false));
    assert_eq!(first["resync"].as_bool(), Some(false));
    assert_eq!(first["registrations"][0]["name"].as_str(), Some("weather"));
    let which = InstanceRef::from(&weather);
    served.registry.unregister(&which).await.unwrap();
    let second = chunk(&mut peer).await;
    assert_eq!(second["event"].as_str(), Some("left"));
    assert_eq!(second["registration"]["version"].as_str(), Some("1.2.3"));
    // The connection still answers other requests, and the stream ends with the server.
    assert!(
        respond(&mut peer, "request", r#"{"method": "list"}"#).await["registrations"]
            .as_list()
            .unwrap()
            .is_empty()
    );
    within(served.server.stop()).await;
    assert!(matches!(peer.receive().await.body, Body::StreamEnd));
    peer.receive_end().await;
}

#[tokio::test]
async fn invalid_requests_are_answered_and_leave_the_registry_empty() {
    let served = ServedRegistry::start("nonsense").await;
    let mut peer = served.peer().await;
    let big = format!(
        r#"{{"agent_name": "a", "endpoint": "tcp://h:1", "metadata": {{"x": "{}"}}}}"#,
        "x".repeat(70_000)
    );
    let far = format!(
        r#"{{"agent_name": "a", "endpoint": "memory://{}"}}"#,
        "x".repeat(2000)
    );
    let deep = format!(
        r#"{{"agent_name": "a", "endpoint": "tcp://h:1", "metadata": {{"x": {}{}}}}}"#,
        "[".repeat(100),
        "]".repeat(100)
    );
    for (kind, payload, code) in [
        ("register", "{}", "REGISTRATION_FAILED"),
        ("register", r#"{"agent_name": "a"}"#, "REGISTRATION_FAILED"),
        (
            "register",
            r#"{"agent_name": "", "endpoint": "tcp://h:1"}"#,
            "REGISTRATION_FAILED",
        ),
        (
            "register",
            r#"{"agent_name": "a", "endpoint": "tcp://h:0"}"#,
            "REGISTRATION_FAILED",
        ),
        (
            "register",
            r#"{"agent_name": "a", "endpoint": "h3://h:1"}"#,
            "REGISTRATION_FAILED",
        ),
        (
            "register",
            r#"{"agent_name": "a", "endpoint": "tcp://h:1", "version": "x"}"#,
            "REGISTRATION_FAILED",
        ),
        (
            "register",
            r#"{"agent_name": "a", "endpoint": "tcp://h:1", "metadata": {"n": 123456789012345678901234567890}}"#,
            "REGISTRATION_FAILED",
        ),
        ("register", r#"{"agent_name": 5}"#, "MALFORMED_PAYLOAD"),
        ("register", &big, "REGISTRATION_FAILED"),
        ("register", &far, "REGISTRATION_FAILED"),
        ("register", &deep, "REGISTRATION_FAILED"),
        ("heartbeat", "{}", "REGISTRATION_FAILED"),
        (
            "heartbeat",
            r#"{"agent_name": "a", "endpoint": "nowhere"}"#,
            "REGISTRATION_FAILED",
        ),
        ("heartbeat", r#"{"agent_name": "a"}"#, "AGENT_NOT_FOUND"),
        ("unregister", "{}", "REGISTRATION_FAILED"),
        ("unregister", r#"{"agent_name": []}"#, "MALFORMED_PAYLOAD"),
        ("request", r#"{"method": "lookup"}"#, "REGISTRATION_FAILED"),
        (
            "request",
            r#"{"method": "lookup", "agent_name": 5}"#,
            "MALFORMED_PAYLOAD",
        ),
        (
            "request",
            r#"{"method": "find", "query": 5}"#,
            "MALFORMED_PAYLOAD",
        ),
        (
            "request",
            r#"{"method": "find", "query": {"version": "newest"}}"#,
            "MALFORMED_PAYLOAD",
        ),
        (
            "request",
            r#"{"method": "list", "after": {}}"#,
            "MALFORMED_PAYLOAD",
        ),
        (
            "request",
            r#"{"method": "watch", "agent_name": 5}"#,
            "MALFORMED_PAYLOAD",
        ),
        (
            "request",
            r#"{"method": "watch", "agent_name": " a"}"#,
            "REGISTRATION_FAILED",
        ),
        ("request", r#"{"method": "dance"}"#, "INVALID_MESSAGE"),
        ("request", r#"{"method": 5}"#, "INVALID_MESSAGE"),
        ("request", "{}", "INVALID_MESSAGE"),
        (
            "request",
            r#"{"method": "process", "message": {"role": "user", "content": 1}}"#,
            "INVALID_MESSAGE",
        ),
        ("response", "{}", "INVALID_MESSAGE"),
        ("stream_end", "{}", "INVALID_MESSAGE"),
    ] {
        let answer = ask(&mut peer, kind, payload).await;
        let Body::Error(error) = answer else {
            panic!("{kind} {payload}: {answer:?}");
        };
        assert_eq!(error.code.as_str(), code, "{kind} {payload}: {error}");
        assert!(!error.message.is_empty());
    }
    assert!(served.registry.list().await.unwrap().is_empty());
    let unknown = ask(&mut peer, "request", r#"{"method": "dance"}"#).await;
    let Body::Error(unknown) = unknown else {
        panic!("{unknown:?}")
    };
    assert_eq!(unknown.message, "Unknown method: dance");
}

#[tokio::test]
async fn bytes_that_are_not_an_envelope_are_answered_as_by_an_agent_server() {
    let served = ServedRegistry::start("bytes").await;
    let mut peer = served.peer().await;
    peer.send_frame(b"not an envelope").await;
    let (code, _, id) = error_of(&peer.receive().await);
    assert_eq!((&*code, &*id), ("MALFORMED_PAYLOAD", "unknown"));
    peer.send(&u32::MAX.to_be_bytes()).await;
    assert_eq!(error_of(&peer.receive().await).0, "MALFORMED_PAYLOAD");
    peer.receive_end().await;
}
