//! Raw connections for payloads that a client would not send.

use agentwire::{
    Endpoint, Format, Map, Value,
    transport::{Connection, connect},
};
use agentwire_codec::{DEFAULT_FRAME_LIMIT, HEADER_LEN};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{Target, TestFailure, TestResult, expect, expect_that};

/// A connection that can send any payload.
#[derive(Debug)]
pub(crate) struct RawConnection(Connection);

impl RawConnection {
    pub(crate) async fn open(target: Target<'_>) -> Result<Self, TestFailure> {
        Ok(Self(connect(&target.endpoint.parse::<Endpoint>()?).await?))
    }

    /// Sends one payload and returns the reply envelope. The reply must be a well-formed envelope
    /// in the same format.
    pub(crate) async fn ask(&mut self, payload: &[u8]) -> Result<Map, TestFailure> {
        let mut frame = u32::try_from(payload.len())?.to_be_bytes().to_vec();
        frame.extend_from_slice(payload);
        self.0.write_all(&frame).await?;

        let mut header = [0; HEADER_LEN];
        self.0.read_exact(&mut header).await?;
        let len = usize::try_from(u32::from_be_bytes(header))?;
        expect_that(len <= DEFAULT_FRAME_LIMIT, || {
            format!("the server announces a frame of {len} bytes")
        })?;
        let mut answer = vec![0; len];
        self.0.read_exact(&mut answer).await?;
        read_envelope(Format::detect(payload), &answer)
    }
}

impl Target<'_> {
    /// Encodes a value as the payload of a frame.
    pub(crate) fn payload(&self, value: &Value) -> Result<Vec<u8>, TestFailure> {
        encoded(self.format, value)
    }
}

fn encoded(format: Format, value: &Value) -> Result<Vec<u8>, TestFailure> {
    let mut payload = Vec::new();
    format.encode_value(value, &mut payload)?;
    Ok(payload)
}

fn read_envelope(format: Format, payload: &[u8]) -> Result<Map, TestFailure> {
    let value = format.decode_value(payload)?;
    let canonical = encoded(format, &value)?;
    expect("the bytes of the answer", payload, &canonical[..])?;
    let Value::Map(envelope) = value else {
        return Err(TestFailure::new(format!("not an envelope: {value:#?}")));
    };
    expect_keys(
        "the envelope",
        &envelope,
        &["version", "type", "id", "timestamp", "payload"],
    )?;
    Ok(envelope)
}

pub(crate) fn expect_keys(what: &str, map: &Map, wanted: &[&str]) -> TestResult {
    let keys: Vec<_> = map.keys().collect();
    expect(format_args!("the keys of {what}"), keys.as_slice(), wanted)
}
