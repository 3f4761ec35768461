//! The command `recode`.

use std::process::Stdio;

use agentwire_codec::{DEFAULT_FRAME_LIMIT, Envelope, Format, Map, RequestId, Response, Value};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    peer::frame,
    program::{program, run_with_input, within},
};

/// Every type of envelope, with values that are easily altered by decoding and encoding.
const PAYLOADS: [&str; 11] = [
    r#"{"version": "1.0", "type": "request", "id": "67e55044-10b1-426f-9247-bb680e5fe0c8", "timestamp": "2025-11-08T12:34:56.789012+00:00", "payload": {"method": "process", "agent_name": "weather", "message": {"role": "user", "content": "\u00e9 \ud83e\udd80 \u007f", "metadata": {}, "timestamp": "2025-11-08T12:34:56+05:30"}}}"#,
    r#"{"version": "1.0", "type": "request", "id": "", "timestamp": "yesterday", "payload": {"method": "stream", "message": {"role": "user", "content": {"z": [NaN, Infinity, -Infinity, -0.0, 1e-05, 1e+16, 5e-324], "a": 1180591620717411303424}, "metadata": {"n": -99999999999999999999999999}, "timestamp": "2025-11-08T12:34:56.000001-23:59"}}}"#,
    r#"{"version": "1.0", "type": "request", "id": "x", "timestamp": "2025-11-08T12:34:56Z", "payload": {"method": "execute", "tool_name": "add", "kwargs": {"b": 1.0, "a": 1}}}"#,
    r#"{"version": "1.0", "type": "response", "id": "x", "timestamp": "t", "payload": {"message": {"role": "agent", "content": null, "metadata": {"k": []}, "timestamp": "2025-11-08T12:34:56+05:30:15"}}}"#,
    r#"{"version": "1.0", "type": "response", "id": "x", "timestamp": "t", "payload": {"result": {"success": false, "data": null, "error": "no", "metadata": {}}}}"#,
    r#"{"version": "1.0", "type": "error", "id": "unknown", "timestamp": "t", "payload": {"error_code": "QUOTA", "error_message": "a\nb", "error_details": {"limit": 18446744073709551616}}}"#,
    r#"{"version": "1.0", "type": "stream_chunk", "id": "x", "timestamp": "t", "payload": {"message": {"role": "agent", "content": "", "metadata": {}, "timestamp": "2025-11-08T12:34:56"}}}"#,
    r#"{"version": "1.0", "type": "stream_end", "id": "x", "timestamp": "t", "payload": {}}"#,
    r#"{"version": "1.0", "type": "register", "id": "x", "timestamp": "t", "payload": {"agent_name": "a", "capabilities": {"c": true}, "endpoint": "tcp://h:1", "metadata": {}}}"#,
    r#"{"version": "1.0", "type": "heartbeat", "id": "x", "timestamp": "t", "payload": {"agent_name": "a", "status": "healthy"}}"#,
    r#"{"version": "1.0", "type": "unregister", "id": "x", "timestamp": "t", "payload": {}}"#,
];

fn all_frames() -> Vec<u8> {
    PAYLOADS.map(frame).concat()
}

#[tokio::test]
async fn frames_are_preserved_byte_for_byte() {
    let frames = all_frames();
    let outcome = run_with_input(["recode"], &frames).await;
    assert_eq!(outcome.success_bytes(), frames);

    // More than one read returns, and more than a pipe buffers.
    let many = frames.repeat(2000);
    let outcome = run_with_input(["recode", "--from", "json", "--to", "json"], &many).await;
    assert!(
        outcome.success_bytes() == many,
        "{} bytes of {}",
        outcome.stdout.len(),
        many.len()
    );
}

#[tokio::test]
async fn empty_input_is_not_an_error() {
    assert_eq!(run_with_input(["recode"], b"").await.success(), "");
}

#[tokio::test]
async fn frames_of_other_adapters_are_normalized_to_the_form_that_python_writes() {
    let go = r#"{"payload":{"agent_name":"a"},"id":"x","extra":1,"type":"heartbeat","timestamp":"t","version":"1.0"}"#;
    let outcome = run_with_input(["recode"], &frame(go)).await;
    assert_eq!(outcome.success_bytes(), frame(PAYLOADS[9]));
}

#[tokio::test]
async fn a_frame_is_written_before_the_next_one_is_read() {
    let mut child = program(["recode"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("start");
    let mut stdin = child.stdin.take().expect("a pipe");
    let mut stdout = child.stdout.take().expect("a pipe");
    for payload in PAYLOADS {
        let sent = frame(payload);
        within(stdin.write_all(&sent)).await.expect("write");
        let mut received = vec![0; sent.len()];
        within(stdout.read_exact(&mut received))
            .await
            .expect("read");
        assert_eq!(received, sent);
    }
    drop(stdin);
    let status = within(child.wait()).await.expect("wait");
    assert!(status.success());
}

#[tokio::test]
async fn a_bad_frame_exits_with_5_and_is_located() {
    let good = all_frames();
    let endings = [
        frame("{}"),
        frame(""),
        frame("\u{feff}{}"),
        b"\xff\xff\xff\xff".to_vec(),
        b"\0\0\0".to_vec(),
        b"\0\0\0\x05abc".to_vec(),
    ];
    for bad in endings {
        let outcome = run_with_input(["recode"], &[&good[..], &bad].concat()).await;
        let start = format!("frame 12 at byte {}: ", good.len());
        assert!(outcome.error(5).starts_with(&start), "{outcome:?}");
        assert_eq!(outcome.stdout, good, "the frames before it are written");
    }
}

#[tokio::test]
async fn a_frame_that_grows_beyond_the_limit_exits_with_2() {
    // Each of these integers takes one byte in MessagePack and four in JSON.
    let list = Value::List(vec![Value::from(-32); 3 * 1024 * 1024]);
    let response = Response::Other(Map::from([("list", list)]));
    let envelope = Envelope::new(RequestId::from("x"), response);
    let mut input = Vec::new();
    Format::MessagePack
        .put_frame(&envelope, DEFAULT_FRAME_LIMIT, &mut input)
        .expect("a frame");
    let recode = ["recode", "--from", "msgpack", "--to", "json"];
    let outcome = run_with_input(recode, &input).await;
    assert!(outcome.error(2).starts_with("frame 1 at byte 0: "));
}

#[tokio::test]
async fn a_frame_whose_escapes_exceed_the_limit_keeps_its_data() {
    // Each of these characters takes two bytes in the input and six in the usual form.
    let text = "\u{e9}".repeat(4 * 1024 * 1024);
    let payload = format!(
        r#"{{"version":"1.0","type":"heartbeat","id":"x","payload":{{"agent_name":"{text}","status":"healthy"}}}}"#
    );
    let input = frame(&payload);
    let outcome = run_with_input(["recode"], &input).await;
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert!(outcome.stdout == input, "{} bytes", outcome.stdout.len());
}

#[tokio::test]
async fn a_closed_output_is_not_an_error() {
    let mut child = program(["recode"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("start");
    drop(child.stdout.take());
    let mut stdin = child.stdin.take().expect("a pipe");
    within(stdin.write_all(&all_frames())).await.expect("write");
    let output = within(child.wait_with_output()).await.expect("wait");
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty(), "{output:?}");
    drop(stdin);
}

#[tokio::test]
async fn an_unreadable_input_exits_with_3() {
    let directory = tempfile::tempdir().expect("directory");
    let mut command = program(["recode"]);
    command.stdin(std::fs::File::open(directory.path()).expect("open"));
    let output = within(command.spawn().expect("start").wait_with_output())
        .await
        .expect("wait");
    assert_eq!(output.status.code(), Some(3));
}
