//! Cases with raw frames that are not valid requests.

use agentwire::{ErrorCode, Map, Value};

use super::{map, value};
use crate::{
    Target, TestFailure, TestResult, expect,
    raw::{RawConnection, expect_keys},
};

/// Sends a request with an unknown method.
pub async fn unknown_method(target: Target<'_>) -> TestResult {
    let request = envelope(
        "request",
        "raw-1",
        r#"{"method": "dance", "agent_name": "interop"}"#,
    )?;
    let mut raw = RawConnection::open(target).await?;
    let answer = raw.ask(&target.payload(&request)?).await?;
    let text = "Unknown method: dance";
    let details = Map::from([("method", "dance")]);
    expect_error(
        &answer,
        "raw-1",
        ErrorCode::INVALID_MESSAGE,
        Some(text),
        details,
    )?;
    echo(target, &mut raw).await
}

/// Sends an envelope that is not a request.
pub async fn wrong_type(target: Target<'_>) -> TestResult {
    let payload = r#"{"agent_name": "interop", "status": "healthy"}"#;
    let heartbeat = envelope("heartbeat", "raw-2", payload)?;
    let mut raw = RawConnection::open(target).await?;
    let answer = raw.ask(&target.payload(&heartbeat)?).await?;
    let text = "Expected 'request' but got 'heartbeat'";
    let details = Map::from([("request", heartbeat)]);
    expect_error(
        &answer,
        "raw-2",
        ErrorCode::INVALID_MESSAGE,
        Some(text),
        details,
    )?;
    echo(target, &mut raw).await
}

/// Sends payloads that are not JSON. The server must reply with the error code `MALFORMED_PAYLOAD`
/// and keep the connection open.
///
/// This requirement is stricter than agenkit, which replies with `INTERNAL_ERROR` and closes the
/// connection.
pub async fn bad_json_keeps_connection(target: Target<'_>) -> TestResult {
    let mut raw = RawConnection::open(target).await?;
    let payloads: [&[u8]; 3] = [b"{\"version\": ", b"\xff", b""];
    for payload in payloads {
        let answer = raw.ask(payload).await?;
        expect_error(
            &answer,
            "unknown",
            ErrorCode::MALFORMED_PAYLOAD,
            None,
            Map::new(),
        )?;
    }
    echo(target, &mut raw).await
}

/// Makes a valid call over a raw connection and checks the reply.
async fn echo(target: Target<'_>, raw: &mut RawConnection) -> TestResult {
    let payload = r#"{"method": "process", "message": {"role": "user", "content": "still here",
        "metadata": {}, "timestamp": "2025-11-08T12:34:56+00:00"}}"#;
    let request = envelope("request", "raw-echo", payload)?;
    let answer = raw.ask(&target.payload(&request)?).await?;
    expect_head(&answer, "response", "raw-echo")?;
    let Some(Value::Map(reply)) = answer
        .get("payload")
        .and_then(|payload| payload.get("message"))
    else {
        return Err(TestFailure::new(format!("no message in {answer:#?}")));
    };
    expect_keys(
        "the reply",
        reply,
        &["role", "content", "metadata", "timestamp"],
    )?;
    expect(
        "the content",
        &reply.get("content"),
        &Some(&"still here".into()),
    )
}

fn envelope(kind: &str, id: &str, payload: &str) -> Result<Value, TestFailure> {
    let mut envelope = map(r#"{"version": "1.0"}"#)?;
    envelope.insert("type", kind);
    envelope.insert("id", id);
    envelope.insert("timestamp", "2025-11-08T12:34:56.789012+00:00");
    envelope.insert("payload", value(payload)?);
    Ok(envelope.into())
}

/// Checks an error envelope. If `text` is `None`, the error text is not checked.
fn expect_error(
    answer: &Map,
    id: &str,
    code: ErrorCode,
    text: Option<&str>,
    details: Map,
) -> TestResult {
    expect_head(answer, "error", id)?;
    let Some(Value::Map(payload)) = answer.get("payload") else {
        return Err(TestFailure::new(format!("no payload in {answer:#?}")));
    };
    let given = payload.get("error_message").and_then(Value::as_str);
    let wanted = Map::from([
        ("error_code", Value::from(code.as_str())),
        ("error_message", text.or(given).unwrap_or_default().into()),
        ("error_details", details.into()),
    ]);
    expect("the payload", payload, &wanted)
}

fn expect_head(answer: &Map, kind: &str, id: &str) -> TestResult {
    let head = ["version", "type", "id"].map(|key| answer.get(key).and_then(Value::as_str));
    expect(
        "version, type and id",
        &head,
        &[Some("1.0"), Some(kind), Some(id)],
    )
}
