//! What a server says about itself, and what a client does with it.

use agentwire::{
    Agent, AgentError, Error, LocalAgent, Map, Message, Proxy, RemoteAgent, RequestContext,
    ToolResult, agent_fn, map, tool_fn,
};
use agentwire_codec::{Response, WireError};

use crate::common::{RawPeer, listen, memory, within};

struct Weather;

impl Agent for Weather {
    fn name(&self) -> &str {
        "weather"
    }

    async fn process(&self, message: Message, _: RequestContext) -> Result<Message, AgentError> {
        Ok(message)
    }

    fn capabilities(&self) -> Map {
        map! {"languages": ["en", "ja"]}
    }
}

async fn serve(test: &str) -> LocalAgent {
    let add = tool_fn("add", |_: Map| async move { Ok(ToolResult::success(1)) })
        .with_description("Adds two integers")
        .with_parameters(map! {"type": "object"});
    LocalAgent::builder(Weather)
        .tool(add)
        .version("2.1.0".parse().unwrap())
        .metadata("zone", "b")
        .endpoint(memory(test))
        .serve()
        .await
        .unwrap()
}

#[tokio::test]
async fn the_bytes_are_those_of_the_protocol() {
    let server = serve("describe-bytes").await;
    let mut peer = RawPeer::connect(server.endpoint()).await;
    // Both payloads are examples in PROTOCOL 13.
    let request = r#"{"version": "1.0", "type": "request", "id": "7d3f0c9e-5b1a-4c8e-9f2d-6a1b0c2d3e4f", "timestamp": "2026-11-28T12:00:00+00:00", "payload": {"method": "describe"}}"#;
    assert_eq!(request.len(), 0xa0);
    peer.send_frame(request.as_bytes()).await;
    let answer = within(peer.receive_payload()).await;
    let answer = String::from_utf8(answer).unwrap();
    let payload = r#""payload": {"agents": [{"name": "weather", "version": "2.1.0", "capabilities": {"languages": ["en", "ja"]}, "metadata": {"zone": "b"}}], "tools": [{"name": "add", "description": "Adds two integers", "parameters": {"type": "object"}}]}}"#;
    assert!(answer.ends_with(payload), "{answer}");
}

#[tokio::test]
async fn several_agents_are_described_through_a_proxy() {
    let plain = agent_fn("plain", |message: Message| async move { Ok(message) });
    let server = LocalAgent::builder(Weather)
        .agent(plain)
        .endpoint(memory("describe-several"))
        .serve();
    let server = server.await.unwrap();
    let proxy = Proxy::serve(server.endpoint(), memory("describe-proxy"));
    let proxy = within(proxy).await.unwrap();
    for endpoint in [server.endpoint(), proxy.endpoint()] {
        let remote = RemoteAgent::new(endpoint).unwrap();
        let description = within(remote.describe()).await.unwrap();
        let names: Vec<_> = description.agents.iter().map(|agent| &agent.name).collect();
        assert_eq!(names, ["plain", "weather"]);
        assert_eq!(description.agents[1].capabilities, Weather.capabilities());
        assert_eq!(description.agents[1].version, None);
        assert!(description.tools.is_empty());
    }
}

#[tokio::test]
async fn a_server_that_does_not_know_the_method_is_reported() {
    for answer in [
        WireError::new("INVALID_MESSAGE", "Unknown method: describe")
            .with_details(map! {"method": "describe"}),
        WireError::new("NOT_IMPLEMENTED", "not implemented"),
    ] {
        let (endpoint, mut listener) = listen("describe-unknown").await;
        let remote = RemoteAgent::new(&endpoint).unwrap();
        let peer = async {
            let (mut peer, id) = RawPeer::asked(&mut listener).await;
            peer.reply(&id, answer).await;
            peer
        };
        let (description, _peer) = within(async { tokio::join!(remote.describe(), peer) }).await;
        let error = description.unwrap_err();
        assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_malformed_description_violates_the_protocol() {
    let (endpoint, mut listener) = listen("describe-malformed").await;
    let remote = RemoteAgent::new(&endpoint).unwrap();
    let peer = async {
        let (mut peer, id) = RawPeer::asked(&mut listener).await;
        peer.reply(&id, Response::Other(map! {"agents": "all"}))
            .await;
        peer
    };
    let (description, _peer) = within(async { tokio::join!(remote.describe(), peer) }).await;
    assert!(description.unwrap_err().is_protocol());
}

#[tokio::test]
async fn a_panic_in_a_description_is_an_answer() {
    struct Shy;
    impl Agent for Shy {
        fn name(&self) -> &str {
            "shy"
        }
        async fn process(
            &self,
            message: Message,
            _: RequestContext,
        ) -> Result<Message, AgentError> {
            Ok(message)
        }
        fn capabilities(&self) -> Map {
            panic!("says nothing")
        }
    }
    let server = LocalAgent::serve(Shy, memory("describe-panic"))
        .await
        .unwrap();
    let remote = RemoteAgent::new(server.endpoint()).unwrap();
    let error = within(remote.describe()).await.unwrap_err();
    assert_eq!(error.code().as_str(), "INTERNAL_ERROR");
    within(remote.process(Message::user("x"))).await.unwrap();
}
