//! Tools that a server offers and clients execute.

use crate::common::{RawPeer, ScriptedAgent, listen, memory, within};
use agentwire::{
    AgentError, Error, Format, LocalAgent, Map, Message, RemoteAgent, RequestContext, Tool,
    ToolResult, Value, agent_fn, map, tool_fn, value,
};
use tokio::sync::oneshot;

/// A tool that fails in the way that its argument `how` selects.
struct Clumsy;

impl Tool for Clumsy {
    fn name(&self) -> &str {
        "clumsy"
    }

    async fn execute(&self, kwargs: Map, _: RequestContext) -> Result<ToolResult, AgentError> {
        match kwargs["how"].as_str() {
            Some("plain") => Err(AgentError::new("dropped it").with_details(map! {"pieces": 7})),
            Some("coded") => Err(AgentError::with_code("BUTTERFINGERS", "dropped it")),
            Some("panic") => panic!("fell over"),
            Some("silent") => {
                let mut result = ToolResult::failure("");
                result.error = None;
                Ok(result)
            }
            _ => Ok(ToolResult::failure("would rather not").with_metadata("mood", "low")),
        }
    }
}

async fn serve(test: &str) -> (LocalAgent, RemoteAgent) {
    let mirror = tool_fn("mirror", |kwargs: Map| async move {
        Ok(ToolResult::success(kwargs).with_metadata("side", "left"))
    })
    .with_description("Gives back what it gets")
    .with_parameters(map! {"type": "object"});
    let server = LocalAgent::builder(ScriptedAgent)
        .tool(mirror)
        .tool(Clumsy)
        .endpoint(memory(test))
        .serve()
        .await
        .unwrap();
    let remote = RemoteAgent::new(server.endpoint()).unwrap();
    (server, remote)
}

#[tokio::test]
async fn a_tool_receives_its_arguments_and_returns_its_result() {
    let (server, remote) = serve("tool").await;
    let kwargs = map! {"b": [1, null], "a": {"deep": 1.5}, "big": u128::MAX};
    let result = within(remote.execute("mirror", kwargs.clone()))
        .await
        .unwrap();
    let expected = ToolResult::success(kwargs).with_metadata("side", "left");
    assert_eq!(result, expected);
    // The agent is served beside the tools.
    let reply = within(remote.process(Message::user("hello")))
        .await
        .unwrap();
    assert_eq!(reply.text(), Some("hello"));
    server.stop().await;
}

#[tokio::test]
async fn a_tool_is_executed_over_messagepack_with_bytes() {
    let (server, _) = serve("tool-msgpack").await;
    let remote = RemoteAgent::builder(server.endpoint())
        .format(Format::MessagePack)
        .build()
        .unwrap();
    let kwargs = map! {"raw": (bytes::Bytes::from_static(b"\x00\xff"))};
    let result = within(remote.execute("mirror", kwargs.clone()))
        .await
        .unwrap();
    assert_eq!(result.data, Value::Map(kwargs));
}

#[tokio::test]
async fn a_result_without_success_is_an_answer_and_not_an_error() {
    let (_server, remote) = serve("tool-unwilling").await;
    let result = within(remote.execute("clumsy", Map::new())).await.unwrap();
    let expected = ToolResult::failure("would rather not").with_metadata("mood", "low");
    assert_eq!(result, expected);
}

#[tokio::test]
async fn each_failure_of_a_tool_has_its_code() {
    let (_server, remote) = serve("tool-clumsy").await;
    for (how, code, text) in [
        ("plain", "TOOL_EXECUTION_FAILED", "dropped it"),
        ("coded", "BUTTERFINGERS", "dropped it"),
        ("panic", "TOOL_EXECUTION_FAILED", "tool panicked"),
        (
            "silent",
            "INTERNAL_ERROR",
            "The answer cannot be sent: tool result is a failure without an error text",
        ),
    ] {
        let error = within(remote.execute("clumsy", map! {"how": how}))
            .await
            .unwrap_err();
        let wire = error.remote().unwrap();
        assert_eq!((wire.code.as_str(), wire.message.as_str()), (code, text));
        let failed = matches!(error, Error::ToolFailed { .. });
        assert_eq!(failed, code == "TOOL_EXECUTION_FAILED", "{error:?}");
        assert!(
            error
                .to_string()
                .starts_with("tool \"clumsy\" of agent at memory://"),
            "{error}"
        );
        if how == "plain" {
            assert_eq!(wire.details, map! {"pieces": 7});
        }
    }
}

#[tokio::test]
async fn an_unknown_tool_is_refused_with_a_list_of_tools() {
    let (_server, remote) = serve("tool-unknown").await;
    let error = within(remote.execute("hammer", Map::new()))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::ToolNotFound { .. }), "{error:?}");
    let wire = error.remote().unwrap();
    assert_eq!(wire.code.as_str(), "TOOL_NOT_FOUND");
    assert_eq!(
        wire.message,
        "Tool not found: hammer; there are: clumsy, mirror"
    );
    let expected = map! {"tool_name": "hammer", "available": ["clumsy", "mirror"]};
    assert_eq!(wire.details, expected);
}

#[tokio::test]
async fn a_tool_without_a_name_is_refused_on_both_sides() {
    let (_server, remote) = serve("tool-nameless").await;
    let error = within(remote.execute("", Map::new())).await.unwrap_err();
    assert!(error.is_encode(), "{error}");

    let nameless = || {
        tool_fn(
            "",
            |kwargs: Map| async move { Ok(ToolResult::success(kwargs)) },
        )
    };
    let twin = || {
        tool_fn("twin", |kwargs: Map| async move {
            Ok(ToolResult::success(kwargs))
        })
    };
    for (builder, problem) in [
        (
            LocalAgent::builder(ScriptedAgent).tool(nameless()),
            "must have a name",
        ),
        (
            LocalAgent::builder(ScriptedAgent).tool(twin()).tool(twin()),
            "names must be unique",
        ),
    ] {
        let error = builder.endpoint(memory("never")).serve().await.unwrap_err();
        assert!(error.to_string().contains(problem), "{error}");
    }
}

#[tokio::test]
async fn a_server_without_support_for_tools_is_reported_as_such() {
    for (code, details) in [
        // The answers of the Python and the Go server.
        ("INVALID_MESSAGE", r#"{"method": "execute"}"#),
        ("NOT_IMPLEMENTED", "{}"),
    ] {
        let (endpoint, mut listener) = listen("tool-refused").await;
        let remote = RemoteAgent::new(&endpoint).unwrap();
        let server = async {
            let (mut peer, id) = RawPeer::asked(&mut listener).await;
            peer.send_frame(
                format!(r#"{{"version": "1.0", "type": "error", "id": "{id}", "payload": {{"error_code": "{code}", "error_message": "Unknown method: execute", "error_details": {details}}}}}"#)
                    .as_bytes(),
            )
            .await;
        };
        let (result, ()) = tokio::join!(remote.execute("hammer", Map::new()), server);
        let error = result.unwrap_err();
        assert!(matches!(error, Error::Unsupported { .. }), "{error:?}");
        assert!(
            error
                .to_string()
                .ends_with("not supported by the server: Unknown method: execute"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn an_execution_that_is_dropped_ends_at_the_server() {
    let (started, is_started) = oneshot::channel();
    let (alive, is_dropped) = oneshot::channel::<()>();
    let senders = std::sync::Mutex::new(Some((started, alive)));
    let endless = tool_fn("endless", move |_: Map| {
        let (started, alive) = senders.lock().unwrap().take().unwrap();
        async move {
            let _alive = alive;
            started.send(()).unwrap();
            std::future::pending().await
        }
    });
    let server = LocalAgent::builder(ScriptedAgent)
        .tool(endless)
        .endpoint(memory("tool-endless"))
        .serve()
        .await
        .unwrap();
    let remote = RemoteAgent::new(server.endpoint()).unwrap();
    let run = tokio::spawn(async move { remote.execute("endless", Map::new()).await });
    within(is_started).await.unwrap();
    run.abort();
    assert!(within(is_dropped).await.is_err(), "the tool was dropped");
}

#[tokio::test]
async fn the_capabilities_of_a_server_can_be_read() {
    let (server, _) = serve("tool-offer").await;
    let tools = value!([
        {"name": "clumsy", "description": "", "parameters": {}},
        {
            "name": "mirror",
            "description": "Gives back what it gets",
            "parameters": {"type": "object"},
        },
    ]);
    assert_eq!(server.capabilities()["tools"], tools);

    let plain = agent_fn("plain", |message: Message| async move { Ok(message) });
    let server = LocalAgent::serve(plain, memory("tool-none")).await.unwrap();
    assert_eq!(server.capabilities(), Map::new());
}

#[cfg(feature = "typed-tools")]
#[tokio::test]
async fn typed_arguments_reach_the_tool_or_are_refused_with_their_path() {
    use agentwire::{RequestContext, typed_tool_fn};

    #[derive(serde::Deserialize, schemars::JsonSchema)]
    struct Stay {
        city: String,
        guests: Vec<Guest>,
    }
    #[derive(serde::Deserialize, schemars::JsonSchema)]
    struct Guest {
        age: u8,
    }
    let book = typed_tool_fn("book", |stay: Stay, _: RequestContext| async move {
        let ages: i64 = stay.guests.iter().map(|guest| i64::from(guest.age)).sum();
        Ok(ToolResult::success(
            map! {"city": (stay.city), "ages": ages},
        ))
    });
    assert_eq!(book.parameters()["properties"]["city"]["type"], "string");
    let server = LocalAgent::builder(ScriptedAgent)
        .tool(std::sync::Arc::new(book))
        .endpoint(memory("typed"))
        .serve()
        .await
        .unwrap();
    let remote = RemoteAgent::new(server.endpoint()).unwrap();
    let kwargs = map! {"city": "Oslo", "guests": [{"age": 7}, {"age": 70}]};
    let result = within(remote.execute("book", kwargs)).await.unwrap();
    assert_eq!(result.data["ages"], 77);
    for (kwargs, path, text) in [
        (
            map! {"city": "Oslo", "guests": [{"age": 7}, {"age": 700}]},
            "guests[1].age",
            "invalid argument guests[1].age: ",
        ),
        (
            map! {"guests": []},
            ".",
            "invalid arguments: missing field `city`",
        ),
    ] {
        let error = within(remote.execute("book", kwargs)).await.unwrap_err();
        assert_eq!(error.code(), "INVALID_MESSAGE".into());
        let error = error.remote().unwrap();
        assert!(error.message.starts_with(text), "{error:?}");
        assert_eq!(error.details["argument"], path);
    }
}
