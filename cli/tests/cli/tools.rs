//! The commands `execute`, `describe` and `ping`.

use agentwire::{
    LocalAgent, Map, Message, ToolResult, agent_fn, map,
    registry::{LocalRegistry, Registration, Registry, RegistryServer},
    tool_fn,
};
use agentwire_codec::{ErrorCode, Map as WireMap, Response, Value, WireError};
use rustix::process::Signal;

use crate::{
    peer::Peer,
    program::{Running, Server, run, run_with_input, within},
};

/// Serves an agent and three tools in this process.
async fn server() -> LocalAgent {
    let add = tool_fn("add", |kwargs: Map| async move {
        match (kwargs["a"].as_i64(), kwargs["b"].as_i64()) {
            (Some(a), Some(b)) => Ok(ToolResult::success(a + b)),
            _ => Ok(ToolResult::failure("a and b\nmust be integers")),
        }
    })
    .with_description("Adds two integers")
    .with_parameters(map! {"properties": {"a": {"type": "integer"}}, "required": ["a"]});
    let shout = tool_fn(
        "shout",
        |_: Map| async move { Ok(ToolResult::success("HEY")) },
    );
    let agent = agent_fn("weather", |message: Message| async move { Ok(message) });
    let local = LocalAgent::builder(agent).tool(add).tool(shout);
    let local = local.version("2.1.0".parse().expect("version"));
    let local = local.endpoint("tcp://127.0.0.1:0").serve();
    within(local).await.expect("serve")
}

#[tokio::test]
async fn execute_prints_the_result_of_a_tool() {
    let server = server().await;
    let endpoint = server.endpoint().to_string();
    let args = r#"{"a": 1, "b": 2}"#;
    let given = run(["execute", &endpoint, "add", "--args", args]).await;
    assert_eq!(given.success(), "3\n");
    let execute = ["execute", &endpoint, "add", "--args", "-"];
    let read = run_with_input(execute, args.as_bytes()).await;
    assert_eq!(read.success(), "3\n");
    let quoted = run(["execute", &endpoint, "shout"]).await;
    assert_eq!(quoted.success(), "\"HEY\"\n");
    let raw = run(["execute", &endpoint, "shout", "--raw"]).await;
    assert_eq!(raw.success(), "HEY\n");
}

#[tokio::test]
async fn serve_offers_tools_version_capabilities_and_metadata() {
    let entries = LocalRegistry::new();
    let registry = RegistryServer::serve(entries.clone(), "tcp://127.0.0.1:0");
    let registry = within(registry).await.expect("a registry");
    let url = registry.endpoint().to_string();
    let tools = ["--tool", "add", "--tool", "fail", "--tool", "echo"];
    let about = [
        "--version",
        "1.2.3",
        "--capabilities",
        r#"{"languages": ["ja"]}"#,
    ];
    let more = ["--metadata", r#"{"zone": "b"}"#, "--registry", &url];
    let serve = ["serve", "tcp://127.0.0.1:0"];
    let mut server = Server::start([&serve[..], &tools, &about, &more].concat()).await;
    let line = server.running.line().await;
    assert!(line.starts_with("registered echo at "), "{line}");
    let endpoint = &server.endpoint;
    let description = &run(["describe", endpoint]).await.messages()[0];
    let agent = &description["agents"][0];
    assert_eq!(agent["version"], "1.2.3");
    assert_eq!(agent["capabilities"]["languages"][0], "ja");
    assert_eq!(agent["metadata"]["zone"], "b");
    assert_eq!(description["tools"][0]["name"], "add");
    let args = ["--args", r#"{"a": 1.5, "b": 2}"#];
    let sum = run([&["execute", endpoint, "add"], &args[..]].concat()).await;
    assert_eq!(sum.success(), "3.5\n");
    let failed = run(["execute", endpoint, "fail"]).await;
    assert!(failed.error(1).contains("fails every time"), "{failed:?}");
    let find = [
        "registry",
        "find",
        &url,
        "--json",
        "--tool",
        "add",
        "--version",
        "^1.2",
    ];
    let found = &run(find).await.messages()[0];
    assert_eq!(found["metadata"]["zone"], "b");
    let unknown = run(["serve", "tcp://127.0.0.1:0", "--tool", "knit"]).await;
    assert!(
        unknown.error(2).contains("use add, echo, fail"),
        "{unknown:?}"
    );
}

#[tokio::test]
async fn a_tool_that_fails_or_does_not_exist_exits_with_1() {
    let server = server().await;
    let endpoint = server.endpoint().to_string();
    let failed = run([
        "execute",
        &endpoint,
        "add",
        "--args",
        r#"{"a": 1, "b": "x"}"#,
    ])
    .await;
    let error = failed.error(1);
    assert!(error.contains("must be integers"), "{error}");
    assert!(error.contains("TOOL_EXECUTION_FAILED"), "{error}");
    assert!(failed.stdout.is_empty());
    let missing = run(["execute", &endpoint, "subtract"]).await;
    let error = missing.error(1);
    assert!(error.contains("TOOL_NOT_FOUND"), "{error}");
    assert!(error.contains(": tool not found: subtract;"), "{error}");
    for args in [
        &["execute", &endpoint][..],
        &["execute", &endpoint, "add", "--args", "[]"],
    ] {
        run(args).await.error(2);
    }
}

#[tokio::test]
async fn execute_list_prints_each_tool_with_its_schema() {
    let server = server().await;
    let endpoint = server.endpoint().to_string();
    let tools = run(["execute", &endpoint, "--list"]).await.messages();
    let names: Vec<_> = tools.iter().map(|tool| tool["name"].as_str()).collect();
    assert_eq!(names, [Some("add"), Some("shout")]);
    assert_eq!(tools[0]["description"], "Adds two integers");
    assert_eq!(tools[0]["parameters"]["required"][0], "a");
}

#[tokio::test]
async fn describe_prints_agents_and_tools() {
    let server = server().await;
    let endpoint = server.endpoint().to_string();
    let description = &run(["describe", &endpoint]).await.messages()[0];
    assert_eq!(description["endpoint"], endpoint.as_str());
    assert_eq!(description["agents"][0]["name"], "weather");
    assert_eq!(description["agents"][0]["version"], "2.1.0");
    assert_eq!(description["tools"][0]["name"], "add");
}

#[tokio::test]
async fn describe_prints_what_is_registered_and_what_the_instances_say() {
    let server = server().await;
    let entries = LocalRegistry::new();
    let registry = RegistryServer::serve(entries.clone(), "tcp://127.0.0.1:0");
    let registry = within(registry).await.expect("a registry");
    let url = registry.endpoint().to_string();
    let describe = ["describe", "--registry", &url, "--name", "weather"];
    let error = run(describe).await.error(3).to_owned();
    assert!(error.contains("AGENT_NOT_FOUND"), "{error}");

    for endpoint in [
        server.endpoint().to_string(),
        "tcp://127.0.0.1:1".to_owned(),
    ] {
        let registration = Registration::new("weather", endpoint.parse().expect("endpoint"));
        within(entries.register(registration))
            .await
            .expect("register");
    }
    let described = &run(describe).await.messages()[0];
    assert_eq!(described["name"], "weather");
    let Value::List(instances) = &described["instances"] else {
        panic!("{described:?}");
    };
    assert_eq!(instances.len(), 2);
    for instance in instances {
        if instance["endpoint"] == "tcp://127.0.0.1:1" {
            assert_eq!(instance["server"], Value::Null);
            let error = instance["error"].as_str().expect("an error");
            assert!(error.contains("CONNECTION_FAILED"), "{error}");
        } else {
            assert_eq!(instance["server"]["agents"][0]["version"], "2.1.0");
        }
    }
}

#[tokio::test]
async fn a_server_that_cannot_describe_itself_is_named_as_such() {
    for command in [&["describe"][..], &["execute", "--list"]] {
        let peer = Peer::listen().await;
        let endpoint = peer.endpoint();
        let answer = async {
            let (mut wire, id, _) = peer.request().await;
            // This is what servers in Python answer.
            let details = WireMap::from([("method", "describe")]);
            let text = "Unknown method: describe";
            wire.send(
                &id,
                WireError::new(ErrorCode::INVALID_MESSAGE, text).with_details(details),
            )
            .await;
            wire
        };
        let args = [command, &[endpoint.as_str()]].concat();
        let (outcome, _wire) = tokio::join!(run(args), answer);
        assert!(
            outcome.error(1).contains("cannot describe itself"),
            "{outcome:?}"
        );
    }
}

#[tokio::test]
async fn ping_prints_each_round_trip_and_a_summary() {
    let server = Server::agent("echo").await;
    let args = ["ping", &server.endpoint, "-c", "3", "--interval", "0s"];
    let outcome = run(args).await;
    let lines: Vec<_> = outcome.success().lines().collect();
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert!(
        lines[0].starts_with("1: ") && lines[0].ends_with(" ms"),
        "{lines:?}"
    );
    assert!(
        lines[3].starts_with("3 sent, 0 lost (0 %); min/median/max "),
        "{lines:?}"
    );
    let outcome = run([&args[..], &["--json"]].concat()).await;
    let lines = outcome.messages();
    assert_eq!(lines[2]["number"], 3);
    assert_eq!(
        (&lines[3]["sent"], &lines[3]["lost"]),
        (&Value::from(3), &Value::from(0))
    );
}

#[tokio::test]
async fn ping_exits_with_3_if_nobody_answers() {
    let endpoint = Peer::listen().await.endpoint();
    let outcome = run(["ping", &endpoint, "-c", "2", "--interval", "0s"]).await;
    let error = outcome.error(3);
    assert!(
        error.contains(&endpoint) && error.contains("CONNECTION_FAILED"),
        "{error}"
    );
    let stdout = String::from_utf8_lossy(&outcome.stdout);
    let lines: Vec<_> = stdout.lines().collect();
    assert_eq!(lines[2], "2 sent, 2 lost (100 %)");
    // The long text is there once, and the code stands for it elsewhere.
    assert!(lines[0].contains("cannot connect to"), "{lines:?}");
    assert_eq!(lines[1], "2: lost: CONNECTION_FAILED");
    assert!(!error.contains("cannot connect to"), "{error}");
    let json = run(["ping", &endpoint, "-c", "1", "--json"]).await;
    assert!(json.error(3).contains("cannot connect to"), "{json:?}");
    // A server that accepts and never answers.
    let peer = Peer::listen().await;
    let args = ["ping", &peer.endpoint(), "-c", "1", "--timeout", "10ms"];
    run(args).await.error(3);
}

#[tokio::test]
async fn ctrl_c_ends_ping_with_the_summary() {
    let server = Server::agent("echo").await;
    let mut ping = Running::start(["ping", &server.endpoint, "-c", "0", "--interval", "1h"]);
    assert!(ping.line().await.starts_with("1: "));
    ping.send(Signal::INT);
    let outcome = ping.end().await;
    let stdout = outcome.success();
    assert!(stdout.starts_with("1 sent, 0 lost"), "{stdout}");
}

#[tokio::test]
async fn a_description_that_is_not_one_exits_with_5() {
    let peer = Peer::listen().await;
    let endpoint = peer.endpoint();
    let answer = async {
        let (mut wire, id, _) = peer.request().await;
        wire.send(&id, Response::Other(WireMap::from([("agents", 1)])))
            .await;
        wire
    };
    let args = ["describe", &endpoint];
    let (outcome, _wire) = tokio::join!(run(args), answer);
    outcome.error(5);
}

#[tokio::test]
async fn ping_ends_with_the_reader_of_its_output() {
    let server = Server::agent("echo").await;
    let mut ping = Running::start(["ping", &server.endpoint, "-c", "0", "--interval", "1h"]);
    assert!(ping.line().await.starts_with("1: "));
    ping.end_unread().await.success();
}
