//! What peers say reaches logs and errors escaped and cut, and no peer fills the log.

use std::{error::Error as StdError, fmt, io, time::Duration};

use crate::common::{RawPeer, ScriptedAgent, frame, listen, logged, memory, within};
use agentwire::{
    AgentError, LocalAgent, Map, Message, RemoteAgent, RetryPolicy, ToolResult, agent_fn, map,
    registry::{LocalRegistry, RegistryServer},
    tool_fn, value,
};
use agentwire_codec::{Body, Envelope, RequestId, Value, WireError};
use tracing::Level;

/// A text that forges a line, colours the terminal, ends the line for some programs, and reverses
/// what follows.
const FORGED: &str = "x\n2026-01-01T00:00:00Z ERROR forged \u{1b}[31m\u{9b}1m\r\u{2028}\u{202e}";

/// The longest line that texts of a peer may cause.
const LONGEST_LINE: usize = 4000;

fn texts() -> [String; 2] {
    [FORGED.to_owned(), FORGED.repeat(5_000)]
}

#[track_caller]
fn assert_safe(text: &str) {
    let unsafe_char = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{202e}');
    assert!(!text.contains(unsafe_char), "{}", text.escape_debug());
    assert!(text.len() < LONGEST_LINE, "{} bytes", text.len());
}

#[test]
fn a_server_logs_the_texts_of_its_callers_escaped_and_cut() {
    let said = logged(async {
        let endpoint = memory("hostile-texts");
        let agent = agent_fn("first", |message: Message| async move {
            let text = message.text().unwrap_or_default().to_owned();
            Err::<Message, _>(AgentError::with_code(text.clone(), text))
        });
        let tool = tool_fn("fail", |kwargs: Map| async move {
            Err::<ToolResult, _>(AgentError::new(kwargs["why"].to_plain_text()))
        });
        let builder = LocalAgent::builder(agent).agent(ScriptedAgent).tool(tool);
        let _server = within(builder.endpoint(&endpoint).serve()).await.unwrap();
        let mut peer = RawPeer::connect(&endpoint).await;
        for text in texts() {
            let message = map! {"role": "user", "content": (text.clone())};
            let panic = map! {"role": "user", "content": 1, "metadata": {"do": "panic"}};
            for payload in [
                value!({"method": (text.clone())}),
                value!({"method": "process", "agent_name": "first", "message": (message.clone())}),
                value!({"method": "stream", "agent_name": "first", "message": (message.clone())}),
                value!({"method": "process", "agent_name": "scripted", "message": (panic)}),
                value!({"method": "process", "agent_name": (text.clone()), "message": (message)}),
                value!({"method": "execute", "tool_name": (text.clone())}),
                value!({"method": "execute", "tool_name": "fail", "kwargs": {"why": (text.clone())}}),
                value!({"method": "process", "message": {"role": "user", "content": 1, "timestamp": (text.clone())}}),
            ] {
                for (key, value) in [("id", &*text), ("version", &*text), ("type", &*text)] {
                    let mut envelope = map! {
                        "version": "1.0",
                        "type": "request",
                        "id": "7",
                        "payload": (payload.clone()),
                    };
                    envelope.insert(key, value);
                    let sent = Value::from(envelope).to_string();
                    peer.send_frame(sent.as_bytes()).await;
                    peer.receive().await;
                }
            }
        }
    });
    assert!(said.len() > 50, "{}", said.len());
    for (_, line) in said {
        assert_safe(&line);
    }
}

#[test]
fn a_client_shows_the_texts_of_its_server_escaped_and_cut() {
    let said = logged(async {
        for text in texts() {
            for code in [
                "",
                "AGENT_NOT_FOUND",
                "AGENT_UNAVAILABLE",
                "TOOL_EXECUTION_FAILED",
            ] {
                for in_flight in [1, 2] {
                    let (endpoint, mut listener) = listen("hostile-server").await;
                    let remote = RemoteAgent::builder(&endpoint)
                        .max_in_flight_per_connection(in_flight)
                        .retry(RetryPolicy::never())
                        .build()
                        .unwrap();
                    let code = if code.is_empty() { &*text } else { code };
                    let answered = async {
                        let (mut peer, id) = RawPeer::asked(&mut listener).await;
                        // An answer that no call waits for, and then the one that is.
                        let stale = Envelope::new(RequestId::from(&*text), Body::StreamEnd);
                        peer.send(&frame(&stale)).await;
                        let details = map! {"agent_name": (text.clone())};
                        let error = WireError::new(code, text.clone()).with_details(details);
                        peer.reply(&id, error).await;
                    };
                    let (error, ()) = tokio::join!(remote.process(Message::user(1)), answered);
                    let error = error.unwrap_err();
                    for shown in [format!("{error}"), format!("{error:#}")] {
                        assert_safe(&shown);
                    }
                    assert_safe(&error.remote().unwrap().to_string());
                    assert_safe(&format!("{:?}", error.remote().unwrap()));
                    assert_safe(&error.code().to_string());
                    let passed_on = AgentError::from(error);
                    assert_safe(&format!("{passed_on} {passed_on:#}"));
                    assert_eq!(passed_on.message(), text);
                }
            }
        }
    });
    for (_, line) in said {
        assert_safe(&line);
    }
}

#[test]
fn a_client_shows_malformed_answers_escaped_and_cut() {
    let said = logged(async {
        // A call whose answer has another id waits for its timeout.
        tokio::time::pause();
        for text in texts() {
            let message = |key: &'static str| {
                let mut message = map! {"role": "agent", "content": 1};
                message.insert(key, text.clone());
                value!({"message": (message)})
            };
            for (key, value) in [
                ("version", value!(text.clone())),
                ("type", value!(text.clone())),
                ("id", value!(text.clone())),
                ("payload", value!(text.clone())),
                ("payload", value!({(text.clone()): (text.clone())})),
                ("payload", message("timestamp")),
                ("payload", message("metadata")),
                ("payload", value!({"message": (text.clone())})),
                ("payload", value!({"result": (text.clone())})),
            ] {
                for in_flight in [1, 2] {
                    let (endpoint, mut listener) = listen("malformed-answer").await;
                    let remote = RemoteAgent::builder(&endpoint)
                        .max_in_flight_per_connection(in_flight)
                        .timeout(Duration::from_millis(200))
                        .build()
                        .unwrap();
                    let answered = async {
                        let (mut peer, id) = RawPeer::asked(&mut listener).await;
                        let mut envelope = map! {
                            "version": "1.0",
                            "type": "response",
                            "id": (id.to_string()),
                            "payload": {},
                        };
                        envelope.insert(key, value.clone());
                        peer.send_frame(Value::from(envelope).to_string().as_bytes())
                            .await;
                        peer
                    };
                    let (error, _peer) = tokio::join!(remote.process(Message::user(1)), answered);
                    let error = error.unwrap_err();
                    assert_safe(&format!("{error} {error:#}"));
                    // The debug output has a line for each cause.
                    format!("{error:?}").lines().for_each(assert_safe);
                    let mut source = error.source();
                    while let Some(cause) = source {
                        assert_safe(&format!("{cause} {cause:?}"));
                        source = cause.source();
                    }
                }
            }
        }
    });
    for (_, line) in said {
        assert_safe(&line);
    }
}

#[derive(Debug)]
struct Outer(io::Error);

impl fmt::Display for Outer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cannot read the stock")
    }
}

impl StdError for Outer {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.0)
    }
}

#[test]
fn the_cause_of_a_failure_is_in_the_log_of_its_own_server_only() {
    let said = logged(async {
        let failing = |_: Message| async {
            Err::<Message, AgentError>(Outer(io::Error::other("disk 7")).into())
        };
        let endpoint = memory("cause");
        let builder = LocalAgent::builder(agent_fn("stock", failing));
        let _server = within(builder.endpoint(&endpoint).serve()).await.unwrap();
        let remote = RemoteAgent::new(&endpoint).unwrap();
        let error = within(remote.process(Message::user("x")))
            .await
            .unwrap_err();
        let text = &error.remote().unwrap().message;
        assert_eq!(text, "cannot read the stock");
    });
    let cause = "cause=cannot read the stock: disk 7";
    let line = said.iter().find(|(_, line)| line.contains(cause));
    let (_, line) = line.unwrap_or_else(|| panic!("{said:?}"));
    assert!(
        line.contains("name=stock") && line.contains(" id="),
        "{line}"
    );
}

#[tokio::test]
async fn a_proxy_names_the_agent_and_not_the_endpoint_of_its_target() {
    let (target, front) = (memory("hidden-target"), memory("front"));
    let remote = RemoteAgent::builder(&target)
        .name("stock")
        .timeout(Duration::from_millis(1))
        .retry(RetryPolicy::never());
    let _proxy = within(LocalAgent::serve(remote.build().unwrap(), &front))
        .await
        .unwrap();
    let caller = RemoteAgent::new(&front).unwrap();
    for error in [
        within(caller.process(Message::user("x")))
            .await
            .unwrap_err(),
        within(caller.stream(Message::user("x")).next())
            .await
            .unwrap()
            .unwrap_err(),
    ] {
        let error = error.remote().unwrap();
        let shown = format!("{error:?} {:#?}", error.details);
        assert!(!shown.contains("hidden-target"), "{shown}");
        assert!(error.message.starts_with("agent \"stock\": "), "{shown}");
    }
}

/// The number of times that a peer causes a warning.
const TIMES: usize = 2000;

/// The most lines at warn that this may cause: the first, and one for each ten seconds that a slow
/// machine takes.
const MAX_LINES: usize = 10;

#[track_caller]
fn assert_few_warnings(said: &[(Level, String)], text: &str) {
    let warnings = said
        .iter()
        .filter(|(level, line)| *level <= Level::WARN && line.contains(text));
    let count = warnings.count();
    assert!(count <= MAX_LINES, "{count} lines");
}

#[test]
fn a_peer_that_sends_bad_frames_or_makes_agents_fail_causes_few_warnings() {
    let said = logged(async {
        let endpoint = memory("flood");
        let _server = within(LocalAgent::serve(ScriptedAgent, &endpoint))
            .await
            .unwrap();
        let mut peer = RawPeer::connect(&endpoint).await;
        let fault = r#"{"version": "1.0", "type": "request", "id": "7", "payload": {"method": "stream", "message": {"role": "user", "content": 1, "metadata": {"fail_after": 0}}}}"#;
        for payload in ["{", "[]", fault] {
            for _ in 0..TIMES {
                peer.send_frame(payload.as_bytes()).await;
                peer.receive().await;
            }
        }
    });
    assert_few_warnings(&said, "frame cannot be decoded");
    assert_few_warnings(&said, "agent failed");
}

#[test]
fn refused_watches_are_logged_once_and_then_counted() {
    let said = logged(async {
        let builder = RegistryServer::builder(LocalRegistry::new()).max_watches(1);
        let server = within(builder.endpoint(memory("watch-flood")).serve())
            .await
            .unwrap();
        let mut peer = RawPeer::connect(server.endpoint()).await;
        let watch =
            r#"{"version": "1.0", "type": "request", "id": "7", "payload": {"method": "watch"}}"#;
        peer.send_frame(watch.as_bytes()).await;
        peer.receive().await;
        for _ in 0..TIMES {
            peer.send_frame(watch.as_bytes()).await;
            while !matches!(peer.receive().await.body, Body::Error(_)) {}
        }
    });
    let refused = "watch refused: limit reached";
    assert!(said.iter().any(|(_, line)| line.contains(refused)));
    assert_few_warnings(&said, refused);
}
