use agentwire::{
    Endpoint, Map, Value,
    transport::{Connection, connect},
};
use agentwire_codec::{DEFAULT_FRAME_LIMIT, HEADER_LEN, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{Failure, Outcome, expect, expect_that};

/// A connection on which anything can be sent.
#[derive(Debug)]
pub(crate) struct RawConnection(Connection);

impl RawConnection {
    pub(crate) async fn open(endpoint: &str) -> Result<Self, Failure> {
        Ok(Self(connect(&endpoint.parse::<Endpoint>()?).await?))
    }

    /// Sends one payload and gives the envelope that answers it, its form checked.
    pub(crate) async fn ask(&mut self, payload: &[u8]) -> Result<Map, Failure> {
        let mut frame = u32::try_from(payload.len())?.to_be_bytes().to_vec();
        frame.extend_from_slice(payload);
        self.0.write_all(&frame).await?;

        let mut header = [0; HEADER_LEN];
        self.0.read_exact(&mut header).await?;
        let len = usize::try_from(u32::from_be_bytes(header))?;
        expect_that(len <= DEFAULT_FRAME_LIMIT, || {
            format!("a frame of {len} bytes is announced")
        })?;
        let mut answer = vec![0; len];
        self.0.read_exact(&mut answer).await?;
        read_envelope(&String::from_utf8(answer)?)
    }
}

fn read_envelope(text: &str) -> Result<Map, Failure> {
    let value = json::from_slice(text.as_bytes())?;
    expect("the text of the answer", text, value.to_string().as_str())?;
    let Value::Map(envelope) = value else {
        return Err(Failure::new(format!("not an envelope: {value:?}")));
    };
    expect_keys(
        "the envelope",
        &envelope,
        &["version", "type", "id", "timestamp", "payload"],
    )?;
    Ok(envelope)
}

pub(crate) fn expect_keys(what: &str, map: &Map, wanted: &[&str]) -> Outcome {
    let keys: Vec<_> = map.keys().collect();
    expect(format_args!("the keys of {what}"), keys.as_slice(), wanted)
}
