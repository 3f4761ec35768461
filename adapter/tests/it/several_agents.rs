//! Several agents on one endpoint, their names, and the limit on their time.

use std::time::Duration;

use crate::common::{ScriptedAgent, memory, within};
use agentwire::{
    Agent, Error, LocalAgent, Map, Message, RemoteAgent, agent_fn, map, registry::LocalRegistry,
    tool_fn,
};

fn named(name: &'static str) -> impl Agent {
    agent_fn(
        name,
        move |_: Message| async move { Ok(Message::agent(name)) },
    )
}

async fn call(server: &LocalAgent, name: &str) -> Result<String, Error> {
    let remote = RemoteAgent::builder(server.endpoint()).name(name).build()?;
    let reply = within(remote.process(Message::user("x"))).await?;
    Ok(reply.text().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn each_agent_is_called_by_its_name() {
    let server = LocalAgent::builder(named("one"))
        .agent(named("two"))
        .agent(ScriptedAgent)
        .endpoint(memory("several"))
        .serve()
        .await
        .unwrap();
    assert_eq!(call(&server, "one").await.unwrap(), "one");
    assert_eq!(call(&server, "two").await.unwrap(), "two");
    for (name, text) in [
        (
            "three",
            "Agent not found: three; there are: one, scripted, two",
        ),
        ("", "No agent is named; there are: one, scripted, two"),
    ] {
        let error = call(&server, name).await.unwrap_err();
        assert!(matches!(error, Error::AgentNotFound { .. }), "{error:?}");
        let wire = error.remote().unwrap();
        assert_eq!(wire.message, text);
        let details = map! {"agent_name": name, "available": ["one", "scripted", "two"]};
        assert_eq!(wire.details, details);
    }
    let remote = RemoteAgent::builder(server.endpoint())
        .name("scripted")
        .build()
        .unwrap();
    let mut stream = remote.stream(Message::user("x"));
    assert_eq!(
        within(stream.next()).await.unwrap().unwrap().text(),
        Some("x")
    );
}

#[tokio::test]
async fn a_single_agent_answers_to_any_name_unless_it_is_strict_or_registered() {
    let lenient = LocalAgent::serve(named("one"), memory("lenient"))
        .await
        .unwrap();
    for name in ["one", "another", ""] {
        assert_eq!(call(&lenient, name).await.unwrap(), "one");
    }
    let strict = LocalAgent::builder(named("one"))
        .strict_names(true)
        .endpoint(memory("strict"))
        .serve()
        .await
        .unwrap();
    let registered = LocalAgent::builder(named("one"))
        .registry(LocalRegistry::new())
        .endpoint(memory("registered"))
        .serve()
        .await
        .unwrap();
    for (server, name) in [(&strict, "one"), (&registered, "one"), (&registered, "")] {
        assert_eq!(call(server, name).await.unwrap(), "one");
    }
    for (server, name) in [
        (&strict, "another"),
        (&strict, ""),
        (&registered, "another"),
    ] {
        let error = call(server, name).await.unwrap_err();
        assert!(matches!(error, Error::AgentNotFound { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn agents_with_the_same_name_are_refused() {
    let twice = LocalAgent::builder(named("one")).agent(named("one"));
    let nameless = LocalAgent::builder(named("one")).agent(named(""));
    for (builder, problem) in [
        (twice, "names must be unique"),
        (nameless, "must have a name"),
    ] {
        let error = builder.endpoint(memory("never")).serve().await.unwrap_err();
        assert!(error.to_string().contains(problem), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_takes_too_long_is_dropped() {
    let slow_tool = tool_fn("slow", |_: Map| async { std::future::pending().await });
    let server = LocalAgent::builder(ScriptedAgent)
        .tool(slow_tool)
        .handler_timeout(Duration::from_secs(2))
        .endpoint(memory("slow"))
        .serve()
        .await
        .unwrap();
    let remote = RemoteAgent::new(server.endpoint()).unwrap();
    let error = remote
        .process(Message::user("x").with_metadata("do", "hang"))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::AgentTimeout { .. }), "{error:?}");
    let text = &error.remote().unwrap().message;
    assert_eq!(text, "agent \"scripted\" did not answer within 2s");
    let error = remote.execute("slow", map! {}).await.unwrap_err();
    assert!(matches!(error, Error::AgentTimeout { .. }), "{error:?}");
    // The connection and the server stay usable.
    remote.process(Message::user("x")).await.unwrap();
    assert_eq!(remote.stats().open, 1);
}

struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        panic!("no way to go");
    }
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_panics_when_it_is_dropped_is_answered_for() {
    let bomb = agent_fn("bomb", |_: Message| async {
        let _armed = PanicsWhenDropped;
        std::future::pending().await
    });
    let server = LocalAgent::builder(bomb)
        .handler_timeout(Duration::from_secs(2))
        .endpoint(memory("bomb"))
        .serve()
        .await
        .unwrap();
    let remote = RemoteAgent::new(server.endpoint()).unwrap();
    let error = remote.process(Message::user("x")).await.unwrap_err();
    assert_eq!(error.remote().unwrap().message, "agent panicked");
}
