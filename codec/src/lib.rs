//! Frames, envelopes and messages of the agentwire protocol.
//!
//! This crate maps bytes to envelopes and back, and knows no sockets: everything works on slices and
//! buffers. What it writes is, byte for byte, what the Python adapter would have written. Most users want the
//! crate `agentwire`, which re-exports what they need of this one.
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
//! let payload = br#"{"version": "1.0", "type": "heartbeat", "id": "67e55044-10b1-426f-9247-bb680e5fe0c8", "timestamp": "2025-11-08T12:34:56+00:00", "payload": {"agent_name": "echo", "status": "healthy"}}"#;
//! assert_eq!(buffer[..4], (payload.len() as u32).to_be_bytes());
//! assert_eq!(buffer[4..], payload[..]);
//! # Ok::<(), agentwire_codec::EncodeError>(())
//! ```
//!
//! # Contents
//!
//! - **Frames**: [`put_frame`], [`peek_frame`] and [`FrameCodec`], with [`FrameLimits`].
//! - **Envelopes**: [`Envelope`] and its [`Body`]; [`Format`] reads and writes them, [`EnvelopeCodec`]
//!   does both steps at once.
//! - **What they hold**: [`Message`], [`ToolResult`], [`WireError`] with its [`ErrorCode`],
//!   [`Timestamp`], [`RequestId`].
//! - **Any value**: [`Value`] and [`Map`], from and into `serde_json::Value`, and by [`to_value`] and
//!   [`from_value`] from and into types of your own.
//!
//! # Limits
//!
//! A payload is at most 10 MiB unless [`FrameLimits`] say otherwise. Nesting goes [`MAX_DEPTH`] levels
//! deep. Reading allocates in proportion to the bytes that are there, and never by a length that is
//! announced: at worst 80 bytes for each, for a list of small integers in MessagePack, and 60 in JSON.

mod envelope;
mod envelope_codec;
mod error;
mod error_code;
mod fingerprint;
mod format;
mod frame;
mod id;
pub mod json;
mod message;
pub mod msgpack;
mod role;
mod schema;
mod sent_at;
mod serialize;
mod timestamp;
mod tool_result;
mod value;
mod wire_error;

pub use crate::{
    envelope::{
        Body, Call, Envelope, EnvelopeType, Execute, Heartbeat, PROTOCOL_VERSION, Register,
        Request, Response, Unregister,
    },
    envelope_codec::EnvelopeCodec,
    error::{DecodeError, DecodeFault, EncodeError, FrameError},
    error_code::ErrorCode,
    format::{Format, MAX_DEPTH},
    frame::{
        DEFAULT_FRAME_LIMIT, FrameCodec, FrameLimits, HEADER_LEN, check_eof, peek_frame, put_frame,
        reserve_for_frame,
    },
    id::RequestId,
    json::ToJsonError,
    message::Message,
    role::Role,
    sent_at::SentAt,
    timestamp::{Timestamp, TimestampError},
    tool_result::{ToolFailure, ToolResult},
    value::{Entries, Integer, IntoEntries, Map, Value, ValueError, from_value, to_value},
    wire_error::WireError,
};
