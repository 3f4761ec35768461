//! Envelopes as bytes.

use agentwire::{Message, RequestId};
use agentwire_codec::{Call, Envelope, Format, Request, put_frame};
use bytes::Bytes;

/// The frame of a call of `process`.
pub(crate) fn process_frame(id: &str, message: Message) -> Bytes {
    frame(&Envelope::new(
        RequestId::from(id),
        Request::Process(Call::new("", message)),
    ))
}

/// The frame of a call of `stream`.
pub(crate) fn stream_frame(id: &str, message: Message) -> Bytes {
    frame(&Envelope::new(
        RequestId::from(id),
        Request::Stream(Call::new("", message)),
    ))
}

/// The frame of an envelope, in JSON.
pub(crate) fn frame(envelope: &Envelope) -> Bytes {
    let mut buffer = Vec::new();
    put_frame(&mut buffer, usize::MAX, |buffer| {
        Format::Json.encode(envelope, buffer)
    })
    .unwrap();
    buffer.into()
}
