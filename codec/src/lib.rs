//! Frames, envelopes and messages of the agentwire protocol.
//!
//! This crate converts bytes to envelopes and envelopes to bytes. The crate performs no I/O: it
//! works on slices and buffers. The encoded bytes are identical to the output of the Python
//! adapter. Most applications should use the crate `agentwire`, which re-exports the types that
//! they need.
//!
//! # A frame, byte by byte
//!
//! ```text
//! 00 00 00 b7                              length of the payload: 183, big-endian
//! 7b 22 76 65 72 73 69 6f 6e 22 3a 20 …    {"version": "1.0", "type": "heartbeat", …
//! ```
//!
//! ```
//! use agentwire_codec::{Envelope, Format, Heartbeat, RequestId, SentAt, put_frame};
//!
//! let id = RequestId::from("67e55044-10b1-426f-9247-bb680e5fe0c8");
//! let mut envelope = Envelope::new(id, Heartbeat::healthy("echo"));
//! envelope.timestamp = Some(SentAt::from("2025-11-08T12:34:56+00:00"));
//!
//! let mut buffer = Vec::new();
//! put_frame(&mut buffer, 1024, |buffer| Format::Json.encode(&envelope, buffer))?;
//! let payload = concat!(
//!     r#"{"version": "1.0", "type": "heartbeat", "id": "67e55044-10b1-426f-9247-bb680e5fe0c8", "#,
//!     r#""timestamp": "2025-11-08T12:34:56+00:00", "#,
//!     r#""payload": {"agent_name": "echo", "status": "healthy"}}"#,
//! );
//! assert_eq!(buffer[..4], (payload.len() as u32).to_be_bytes());
//! assert_eq!(buffer[4..], *payload.as_bytes());
//! # Ok::<(), agentwire_codec::EncodeError>(())
//! ```
//!
//! # Contents
//!
//! - **Frames**: [`put_frame`], [`peek_frame`] and [`FrameCodec`], with [`FrameLimits`].
//! - **Envelopes**: [`Envelope`] and its [`Body`]. [`Format`] encodes and decodes them;
//!   [`EnvelopeCodec`] combines framing and encoding.
//! - **Contents**: [`Message`], [`ToolResult`], [`WireError`] with its [`ErrorCode`],
//!   [`Timestamp`], [`RequestId`].
//! - **Values**: [`Value`] and [`Map`], which convert to and from `serde_json::Value`. [`to_value`]
//!   and [`from_value`] convert any type that serde supports.
//!
//! # Limits
//!
//! A payload has at most 10 MiB by default; [`FrameLimits`] changes this limit. Values nest at most
//! [`MAX_DEPTH`] levels deep. The values of a payload use at most 128 MiB
//! ([`DEFAULT_MEMORY_LIMIT`]) unless [`Format::decode_within`] sets another limit. Decoding
//! allocates memory in proportion to the bytes that have arrived and never trusts an announced
//! length. The worst case is a list of small integers, for which decoding allocates 80 bytes per
//! byte of MessagePack and 60 bytes per byte of JSON.
//!
//! # Privacy
//!
//! The `{:?}` output of messages, tool results, values, maps and envelopes is safe to log: for each
//! value it shows the kind, the size and a fingerprint instead of the content. Roles, names, ids,
//! times and error messages are shown as text, which may be truncated. The `{:#?}` output shows the
//! entire content and is intended for developers; the library never uses it for logging.
//! [`Value`](Value#impl-Debug-for-Value) describes both forms. The text of a [`ValueError`] quotes
//! the rejected value, so log the error only if you would log the value.

mod envelope;
mod envelope_codec;
mod error;
mod error_code;
mod fingerprint;
mod foreign;
mod format;
mod frame;
mod id;
pub mod json;
mod memory;
mod message;
pub mod msgpack;
mod repeated;
mod role;
mod schema;
mod sent_at;
mod serialize;
mod text_writer;
mod timestamp;
mod tool_result;
mod trace_context;
mod value;
mod wire_error;

pub use crate::{
    envelope::{
        Body, Call, Delivery, Envelope, EnvelopeType, Execute, Heartbeat, PROTOCOL_VERSION,
        RawBody, Register, Request, Response, Unregister,
    },
    envelope_codec::EnvelopeCodec,
    error::{DecodeError, DecodeFault, EncodeError, FrameError},
    error_code::ErrorCode,
    foreign::ForeignProtocol,
    format::Format,
    frame::{
        DEFAULT_FRAME_LIMIT, FrameCodec, FrameLimits, HEADER_LEN, check_eof, peek_frame, put_frame,
        reserve_for_frame,
    },
    id::RequestId,
    json::ToJsonError,
    memory::{DEFAULT_MEMORY_LIMIT, MemoryBound},
    message::Message,
    role::Role,
    schema::MAX_DEPTH,
    sent_at::SentAt,
    timestamp::{Timestamp, TimestampError},
    tool_result::{ToolFailure, ToolResult},
    trace_context::TraceContext,
    value::{Entries, Integer, IntoEntries, Map, Value, ValueError, from_value, to_value},
    wire_error::WireError,
};

/// Items that the other crates of this workspace use. This module is exempt from semver.
#[doc(hidden)]
pub mod internal {
    pub use agentwire_text::Untrusted;

    pub use crate::repeated::{MAX_REPEATED_LEN, repeatable, repeatable_text};
}
