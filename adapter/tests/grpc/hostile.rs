//! Requests that break the rules of gRPC, or try to use up the memory of the server.

use std::{future::poll_fn, io::Write};

use agentwire::{LocalAgent, Message, agent_fn};
use agentwire_proto::{Response, StreamChunk};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use h2::Reason;

use crate::{
    builder, client,
    common::within,
    raw::{PROCESS, RawClient, STREAM, framed, prefixed, request, unframed},
    serve, serve_with,
};

fn gzip(message: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(message).unwrap();
    encoder.finish().unwrap()
}

/// Sends a body and returns the code and the message of the status.
async fn status(
    raw: &mut RawClient,
    headers: &[(&'static str, &str)],
    body: Vec<u8>,
) -> (String, String) {
    let answer = raw.exchange(PROCESS, headers, body).await.unwrap();
    assert!(answer.body.is_empty(), "{answer:?}");
    answer.status.expect("a status")
}

#[tokio::test]
async fn malformed_requests_end_with_a_status_and_the_connection_goes_on() {
    let server = serve().await;
    let mut raw = RawClient::connect(server.endpoint()).await;
    let good = framed(&request("x"));
    for (body, code, text) in [
        (vec![], "13", "the request has no message"),
        (vec![0, 0, 0], "13", "the stream ended inside a message"),
        (prefixed(0, b"")[..4].to_vec(), "13", "inside a message"),
        (good[..good.len() - 1].to_vec(), "13", "inside a message"),
        ([&good[..], &good].concat(), "13", "more than one message"),
        (prefixed(2, b"x"), "13", "invalid compression flag 2"),
        (
            prefixed(0, b"\xff\xff\xff"),
            "13",
            "not a message of agenkit.AgentService",
        ),
        (
            prefixed(0, b"\x0a\x02\xff\xfe"),
            "13",
            "not a message of agenkit.AgentService",
        ),
        (
            vec![0, 0xff, 0xff, 0xff, 0xff],
            "8",
            "Received message larger than max",
        ),
        (
            vec![0, 0, 0x40, 0, 1],
            "8",
            "larger than max (4194305 vs. 4194304)",
        ),
    ] {
        let (found, message) = status(&mut raw, &[], body).await;
        assert_eq!(found, code, "{message}");
        assert!(message.contains(text), "{message}");
    }
    assert_eq!(raw.process("x").await.message.unwrap().content, "x");
}

#[tokio::test]
async fn compressed_requests_are_read_and_bombs_are_not() {
    let server = serve().await;
    let mut raw = RawClient::connect(server.endpoint()).await;
    let headers = [("grpc-encoding", "gzip")];
    let message = prost::Message::encode_to_vec(&request("x"));
    let answer = raw
        .exchange(PROCESS, &headers, prefixed(1, &gzip(&message)))
        .await
        .unwrap();
    let response = unframed::<Response>(&answer.body).remove(0);
    assert_eq!(response.message.unwrap().content, "x");

    // The announced length alone decides.
    let bomb = gzip(&vec![0; 16 << 20]);
    let (code, text) = status(&mut raw, &headers, prefixed(1, &bomb)).await;
    assert_eq!(code, "8");
    assert_eq!(
        text,
        "Decompressed message larger than max (16777216 vs. 4194304)"
    );
    // A length that lies ends the decompression where it lies.
    let mut lie = bomb;
    let end = lie.len() - 4;
    lie[end..].copy_from_slice(&1000_u32.to_le_bytes());
    let (code, text) = status(&mut raw, &headers, prefixed(1, &lie)).await;
    assert_eq!(
        (&*code, &*text),
        ("13", "the compressed message is corrupt")
    );

    let (code, _) = status(&mut raw, &[("grpc-encoding", "snappy")], prefixed(1, b"x")).await;
    assert_eq!(code, "12");
    assert_eq!(raw.process("x").await.message.unwrap().content, "x");
}

#[tokio::test]
async fn a_message_of_many_tiny_values_is_refused_before_it_is_decoded() {
    let server = serve_with(builder().memory_budget(16 << 20)).await;
    let mut raw = RawClient::connect(server.endpoint()).await;
    // Two million empty messages would take 200 MB.
    let many = prefixed(0, &[0x32, 0].repeat(2_000_000));
    let answer = raw.exchange(PROCESS, &[], many).await.unwrap();
    let error = unframed::<Response>(&answer.body).remove(0).error.unwrap();
    assert_eq!(
        (&*error.code, &*error.details["reason"]),
        ("MALFORMED_PAYLOAD", "memory")
    );
    assert_eq!(raw.process("x").await.message.unwrap().content, "x");
}

#[tokio::test]
async fn other_protocols_get_the_answer_of_http() {
    let server = serve().await;
    let mut raw = RawClient::connect(server.endpoint()).await;
    let answer = raw
        .exchange(PROCESS, &[("content-type", "application/json")], "{}")
        .await;
    assert_eq!(answer.unwrap().http, 415);
    let answer = raw
        .exchange("/agenkit.AgentService/Dance", &[], "")
        .await
        .unwrap();
    assert_eq!(
        answer.status,
        Some(("12".into(), "Method not found!".into()))
    );
    let answer = raw
        .exchange("/agenkit.AgentService/BidirectionalStream", &[], "")
        .await;
    assert_eq!(answer.unwrap().status.unwrap().0, "12");
}

#[tokio::test]
async fn failures_are_in_band_and_a_stream_always_ends() {
    let server = serve().await;
    let mut raw = RawClient::connect(server.endpoint()).await;
    let failed = raw.process("fail").await;
    assert_eq!((failed.r#type, &*failed.id), (3, "7"));
    assert_eq!(failed.error.unwrap().message, "deliberate failure");

    let mut request = request("go");
    request.agent_name = "count".to_owned();
    let answer = raw.exchange(STREAM, &[], framed(&request)).await.unwrap();
    let types: Vec<_> = unframed::<StreamChunk>(&answer.body)
        .iter()
        .map(|one| one.r#type)
        .collect();
    assert_eq!(types, [1, 1, 1, 2]);
    assert_eq!(answer.status, Some(("0".into(), String::new())));
    // An agent that cannot stream says so in the stream.
    request.agent_name = "echo".to_owned();
    let answer = raw.exchange(STREAM, &[], framed(&request)).await.unwrap();
    let chunks = unframed::<StreamChunk>(&answer.body);
    assert_eq!(chunks.last().unwrap().r#type, 3);
    assert_eq!(answer.status, Some(("0".into(), String::new())));
}

#[tokio::test]
async fn rapid_resets_end_their_connection_and_nobody_else_notices() {
    let server = serve().await;
    let other = client(server.endpoint(), "echo");
    within(other.process(Message::user(1))).await.unwrap();
    let mut raw = RawClient::connect(server.endpoint()).await;
    for _ in 0..20_000 {
        let Ok(sender) = within(raw.sender.clone().ready()).await else {
            break;
        };
        raw.sender = sender;
        let request = http::Request::post("http://test/agenkit.AgentService/Process")
            .header("content-type", "application/grpc")
            .body(())
            .unwrap();
        let Ok((_, mut stream)) = raw.sender.send_request(request, false) else {
            break;
        };
        stream.send_reset(Reason::CANCEL);
        if raw.driver.is_finished() {
            break;
        }
    }
    within(other.process(Message::user(2))).await.unwrap();
}

#[tokio::test]
async fn an_answer_that_is_too_large_becomes_an_error() {
    let large = agent_fn("large", |_: Message| async {
        Ok(Message::agent("x".repeat(5 << 20)))
    });
    let server = serve_with(LocalAgent::builder(large)).await;
    let remote = client(server.endpoint(), "large");
    let error = within(remote.process(Message::user("x")))
        .await
        .unwrap_err();
    let error = error.remote().unwrap();
    assert_eq!(error.code, "INTERNAL_ERROR".into());
    assert!(
        error.message.contains("The answer cannot be sent"),
        "{error}"
    );

    let large = agent_fn("large", |_: Message| async {
        Ok(Message::agent("x".repeat(5 << 20)))
    });
    let server = serve_with(LocalAgent::builder(large).grpc_max_message(8 << 20)).await;
    let reply = within(client(server.endpoint(), "large").process(Message::user("x"))).await;
    assert_eq!(reply.unwrap().text().unwrap().len(), 5 << 20);
}

#[tokio::test]
async fn a_caller_that_does_not_read_holds_its_own_call_only() {
    let endless = agentwire::stream_fn("echo", |_: Message| {
        futures_util::stream::repeat_with(|| Ok(Message::agent("x".repeat(100_000))))
    });
    let server = serve_with(
        LocalAgent::builder(endless).write_timeout(std::time::Duration::from_millis(100)),
    )
    .await;
    let mut raw = RawClient::connect(server.endpoint()).await;
    let (response, mut body) = raw.start(STREAM, &[]).await;
    body.send_data(Bytes::from(framed(&request("go"))), true)
        .unwrap();
    let (_, mut stream) = within(response).await.unwrap().into_parts();
    // Nothing is read, so the server gives up after its timeout for writing.
    let error = within(async {
        loop {
            match stream.data().await {
                Some(Ok(_)) => {}
                Some(Err(error)) => break error,
                None => panic!("the stream is endless"),
            }
        }
    })
    .await;
    assert_eq!(error.reason(), Some(Reason::CANCEL));
}

#[tokio::test]
async fn a_message_that_waits_for_memory_leaves_the_connection_to_others() {
    const MIB: usize = 1 << 20;
    // What a peer may send of one message before the server reads it.
    const WINDOW: usize = 192 * 1024;
    // The bytes of all messages may hold a quarter of the budget.
    let server = serve_with(builder().memory_budget(8 * MIB)).await;
    let start = &prefixed(0, &vec![0; 3 * MIB / 2])[..5];

    let mut holder = RawClient::connect(server.endpoint()).await;
    let (_holding, mut held) = holder.start(PROCESS, &[]).await;
    held.send_data(start.to_vec().into(), false).unwrap();
    // The server has also read what was sent before.
    assert_eq!(holder.process("x").await.message.unwrap().content, "x");

    let mut raw = RawClient::connect(server.endpoint()).await;
    assert_eq!(raw.process("x").await.message.unwrap().content, "x");
    let (_waiting, mut stream) = raw.start(PROCESS, &[]).await;
    stream.send_data(start.to_vec().into(), false).unwrap();
    stream.reserve_capacity(MIB);
    while stream.capacity() < WINDOW - start.len() {
        let more = within(poll_fn(|cx| stream.poll_capacity(cx))).await;
        more.expect("the stream is open").unwrap();
    }
    let rest = vec![0; stream.capacity()];
    stream.send_data(rest.into(), false).unwrap();
    for _ in 0..3 {
        assert_eq!(raw.process("x").await.message.unwrap().content, "x");
    }
}
