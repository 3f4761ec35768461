//! Decoding within a limit of memory.

use agentwire_codec::{DecodeError, DecodeFault, Format};

use crate::{Request, Response, StreamChunk, content::may_be_json};

/// A message that one procedure sends or receives.
pub trait Wire: prost::Message + Default {
    /// What the message is.
    #[doc(hidden)]
    const KIND: Kind;
}

/// Decodes a message whose values take at most `max_memory` bytes, as a message and as an envelope
/// together. Returns the message and an upper bound of that memory.
///
/// The bound is computed before anything is decoded. A message of 4 MiB can otherwise take hundreds
/// of megabytes: an empty entry of a list is two bytes long.
///
/// # Errors
///
/// Returns [`DecodeFault::Memory`] if the bound exceeds `max_memory`, and [`DecodeFault::Syntax`]
/// if the payload is not such a message.
pub fn decode<M: Wire>(payload: &[u8], max_memory: usize) -> Result<(M, usize), DecodeError> {
    let refuse = |fault| DecodeError::new(None, None, fault);
    let bound = memory_bound::<M>(payload);
    if bound > max_memory {
        return Err(refuse(DecodeFault::Memory { limit: max_memory }));
    }
    let decoded = M::decode(payload).map_err(|_| {
        refuse(DecodeFault::Syntax {
            format: "protobuf",
            reason: "not a message of agenkit.AgentService",
            offset: 0,
        })
    });
    Ok((decoded?, bound))
}

/// Returns an upper bound of the memory that the values of a message take, as a message and as an
/// envelope together, without decoding the message.
#[must_use]
pub fn memory_bound<M: Wire>(payload: &[u8]) -> usize {
    payload.len().saturating_add(scan(payload, M::KIND))
}

macro_rules! wire {
    ($($message:ident)*) => {$(
        impl Wire for $message {
            const KIND: Kind = Kind::$message;
        }
    )*};
}

wire! { Request Response StreamChunk }

/// The messages of the service.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the type is hidden")]
pub enum Kind {
    Request,
    Response,
    StreamChunk,
    Message,
    ToolCall,
    ToolResult,
    Error,
}

/// What a field contains that takes more memory than its bytes.
enum Field {
    Nested(Kind),
    /// An entry of a map.
    Entry,
    /// An entry of a map whose value may be JSON.
    JsonEntry,
    /// A text that may be JSON.
    Json,
    Plain,
}

impl Kind {
    fn field(self, number: u64) -> Field {
        match (self, number) {
            (Self::Request, 6) | (Self::Response | Self::StreamChunk, 5) => {
                Field::Nested(Self::Message)
            }
            (Self::Request, 8) => Field::Nested(Self::ToolCall),
            (Self::Response, 6) => Field::Nested(Self::ToolResult),
            (Self::Response, 7) | (Self::StreamChunk, 6) => Field::Nested(Self::Error),
            (Self::Request, 7)
            | (Self::Response, 8)
            | (Self::Message | Self::ToolCall, 3)
            | (Self::ToolResult, 4) => Field::Entry,
            (Self::Error, 3) => Field::JsonEntry,
            (Self::Message | Self::ToolCall | Self::ToolResult, 2) => Field::Json,
            _ => Field::Plain,
        }
    }
}

/// Returns the memory of all parts of a message besides the bytes of its texts. A malformed message
/// is scanned up to the fault, where decoding ends as well.
fn scan(mut payload: &[u8], kind: Kind) -> usize {
    let mut memory: usize = 0;
    while let Some((number, content)) = next_field(&mut payload) {
        let Some(content) = content else {
            continue;
        };
        let own = match kind.field(number) {
            Field::Nested(nested) => NESTED.saturating_add(scan(content, nested)),
            Field::Entry => ENTRY,
            Field::JsonEntry => ENTRY.saturating_add(json_values(content)),
            Field::Json => json_memory(content),
            Field::Plain => 0,
        };
        memory = memory.saturating_add(own);
    }
    memory
}

/// Returns the memory of the JSON in the value of a map's entry. If the value occurs several times,
/// only the last one is decoded, and the sum is a bound.
fn json_values(mut entry: &[u8]) -> usize {
    let mut memory: usize = 0;
    while let Some((number, content)) = next_field(&mut entry) {
        if let (2, Some(content)) = (number, content) {
            memory = memory.saturating_add(json_memory(content));
        }
    }
    memory
}

fn json_memory(text: &[u8]) -> usize {
    if may_be_json(text) {
        Format::Json.memory_bound(text)
    } else {
        0
    }
}

/// Returns the number of the next field, and its content if the field has a length. Returns `None`
/// at the end and at a fault.
fn next_field<'a>(payload: &mut &'a [u8]) -> Option<(u64, Option<&'a [u8]>)> {
    let key = varint(payload)?;
    let content = match key & 7 {
        0 => {
            varint(payload)?;
            None
        }
        1 => {
            skip(payload, 8)?;
            None
        }
        2 => {
            let len = usize::try_from(varint(payload)?).ok()?;
            Some(skip(payload, len)?)
        }
        // The fields of a group follow as if they were fields of the message, which can only raise
        // the bound.
        3 | 4 => None,
        5 => {
            skip(payload, 4)?;
            None
        }
        _ => return None,
    };
    Some((key >> 3, content))
}

fn skip<'a>(payload: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (skipped, rest) = payload.split_at_checked(len)?;
    *payload = rest;
    Some(skipped)
}

fn varint(payload: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = payload.split_first()?;
        *payload = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// The memory of a nested message without its texts. A list of messages has spare capacity.
const NESTED: usize = 512;

/// The memory of an entry of a map without its texts, in protobuf's map and in the envelope's map
/// together.
const ENTRY: usize = 512;
