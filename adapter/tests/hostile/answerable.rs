//! A request that a server accepts can be answered with its own content, however it was written.

use std::collections::BTreeMap;

use agentwire::{
    LocalAgent, Map, Message, Proxy, RemoteAgent, ToolResult, agent_fn, tool_fn,
    transport::Endpoint,
};
use agentwire_codec::{Body, Format, FrameLimits, Response};

use crate::common::{RawPeer, memory, within};

/// Contents that take more bytes as CPython writes them than in these spellings.
fn compact_contents() -> BTreeMap<&'static str, String> {
    let list = |element: &str| {
        let count = (CONTENT - 2) / (element.len() + 1);
        format!("[{}]", vec![element; count].join(","))
    };
    let text = |character: &str| format!("\"{}\"", character.repeat(CONTENT / character.len()));
    BTreeMap::from([
        ("emoji", text("\u{1f600}")),
        ("letters with accents", text("\u{e9}")),
        ("delete characters", text("\u{7f}")),
        ("line separators", text("\u{2028}")),
        ("integers", list("1")),
        ("floats", list("9e15")),
        ("small floats", list("1e-4")),
        ("infinities", list("1e999")),
        ("maps", list("{\"a\":0}")),
        ("accents in keys", list("{\"\u{e9}\":0}")),
    ])
}

fn request(method: &str, content: &str) -> String {
    let asked = match method {
        "execute" => format!(r#""tool_name":"echo","kwargs":{{"content":{content}}}"#),
        _ => format!(r#""message":{{"role":"user","content":{content}}}"#),
    };
    format!(
        r#"{{"version":"1.0","type":"request","id":"7","payload":{{"method":"{method}",{asked}}}}}"#
    )
}

async fn serve(limit: usize) -> LocalAgent {
    let echo = agent_fn("echo", |message: Message| async { Ok(message) });
    let tool = tool_fn("echo", |kwargs: Map| async {
        Ok(ToolResult::success(kwargs))
    });
    let limits = FrameLimits::default().send(limit).receive(limit);
    let builder = LocalAgent::builder(echo).tool(tool).frame_limits(limits);
    within(builder.endpoint(memory("answerable")).serve())
        .await
        .unwrap()
}

/// Sends each content and asserts that the answer repeats it.
async fn assert_answered(endpoint: &Endpoint, methods: &[&str]) {
    let mut peer = RawPeer::connect(endpoint).await;
    for (name, content) in compact_contents() {
        for method in methods {
            let sent = request(method, &content);
            assert!(sent.len() <= LIMIT - EXTRA_KEYS, "{}", sent.len());
            peer.send_frame(sent.as_bytes()).await;
            let expected = Format::Json.decode_value(content.as_bytes()).unwrap();
            let received = match peer.receive().await.body {
                Body::Response(Response::Message(message)) => message.content,
                Body::Response(Response::Tool(result)) => result.data["content"].clone(),
                other => panic!("{name}, {method}: {:.300}", format!("{other:?}")),
            };
            assert!(received == expected, "{name}, {method}");
        }
    }
}

#[tokio::test]
async fn an_accepted_request_is_answered_with_its_own_content() {
    let server = serve(LIMIT).await;
    assert_answered(server.endpoint(), &["process", "execute"]).await;
}

#[tokio::test]
async fn a_proxy_passes_on_what_only_the_compact_form_can_carry() {
    let server = serve(LIMIT).await;
    let limits = FrameLimits::default().send(LIMIT).receive(LIMIT);
    let target = RemoteAgent::builder(server.endpoint()).frame_limits(limits);
    let proxy = Proxy::builder(target).frame_limits(limits);
    let proxy = within(proxy.endpoint(memory("answerable-proxy")).serve())
        .await
        .unwrap();
    assert_answered(proxy.endpoint(), &["process", "execute"]).await;
}

#[tokio::test]
async fn four_megabytes_of_emoji_are_echoed_within_the_default_limit() {
    let server = serve(agentwire_codec::DEFAULT_FRAME_LIMIT).await;
    let mut peer = RawPeer::connect(server.endpoint()).await;
    let emoji = "\u{1f600}".repeat(1_000_000);
    let sent = request("process", &format!("\"{emoji}\""));
    peer.send_frame(sent.as_bytes()).await;
    let Body::Response(Response::Message(echo)) = peer.receive().await.body else {
        panic!("not echoed");
    };
    assert!(echo.content.as_str() == Some(emoji.as_str()));
}

/// The size of a content in bytes.
const CONTENT: usize = 64 * 1024;

/// The bytes that the keys of an answer may take in addition to those of the request (PROTOCOL
/// 7.4).
const EXTRA_KEYS: usize = 256;

/// The limit of payloads, in both directions: a request with a content just fits.
const LIMIT: usize = CONTENT + 2 * EXTRA_KEYS;
