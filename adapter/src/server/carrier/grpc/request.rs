//! Reads the only message of a request.

use std::{future::Future, time::Duration};

use agentwire_codec::{DecodeError, Envelope, WireError};
use agentwire_proto::{Request, Rpc, decode, into_raw, memory_bound};
use agentwire_transport::internal::MAX_TIMEOUT;
use bytes::Bytes;
use futures_util::FutureExt;
use tokio::time::{Instant, timeout_at};

use super::call::Context;
use crate::{
    connection::{Bodies, MAX_EXCESS_MEMORY, MAX_INLINE, MAX_SMALL, Offload},
    grpc::{
        Code, Encoding, Kind, MessageReader, PREFIX_LEN, Prefix, ReadError, Status, log_received,
    },
    observer::Side,
    server::{
        budget::Use,
        carrier::{memory::Grant, rates::MIN_REQUEST_RATE, refusals::no_memory},
    },
};

/// A decoded request and the memory that it holds.
pub(super) struct Received {
    pub(super) envelope: Result<Envelope, DecodeError>,
    pub(super) memory: Grant,
}

/// The reason why a request was not decoded.
pub(super) enum Unread {
    /// The caller has gone away.
    Gone,
    /// The call ends with this status.
    Status(Status),
    /// The call is answered with this error.
    Refused(WireError),
}

impl From<Status> for Unread {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

impl From<ReadError> for Unread {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Stream(_) => Self::Gone,
            ReadError::Status(status) => Self::Status(status),
        }
    }
}

/// Reads and decodes a request to an agent.
pub(super) async fn read(
    reader: &mut MessageReader,
    rpc: Rpc,
    context: &Context,
) -> Result<Received, Unread> {
    let (message, wire) = read_message(reader, context).await?;
    log_received(&context.caller.peer, Kind::Request(rpc), &message);
    let bound = memory_bound::<Request>(&message);
    let max = context.memory.max_request();
    let memory = acquire(context, bound.min(max)).await?;
    let bodies = context.service.bodies();
    let is_cheap = message.len() <= MAX_SMALL
        || (message.len() <= MAX_INLINE && bound <= message.len() + MAX_EXCESS_MEMORY);
    let decoded = if is_cheap {
        decode_request(&message, rpc, bodies, max)
    } else {
        Offload::new(move || decode_request(&message, rpc, bodies, max)).await
    };
    drop(wire);
    if let Err(error) = &decoded {
        if matches!(error.fault(), agentwire_codec::DecodeFault::Syntax { .. }) {
            return Err(Status::new(Code::Internal, error.to_string()).into());
        }
    }
    Ok(Received {
        envelope: decoded,
        memory,
    })
}

fn decode_request(
    message: &[u8],
    rpc: Rpc,
    bodies: Bodies,
    max_memory: usize,
) -> Result<Envelope, DecodeError> {
    let (request, _) = decode::<Request>(message, max_memory)?;
    let envelope = request.into_envelope(rpc)?;
    match bodies {
        Bodies::Typed => Ok(envelope),
        Bodies::Raw => {
            let id = envelope.id.clone();
            into_raw(envelope).map_err(|error| {
                let reason = error.to_string();
                let fault = agentwire_codec::DecodeFault::Payload { reason };
                DecodeError::new(Some(id), None, fault)
            })
        }
    }
}

/// Reads the only message of a request, and its end. Returns the message with its memory.
pub(super) async fn read_message(
    reader: &mut MessageReader,
    context: &Context,
) -> Result<(Bytes, Option<Grant>), Unread> {
    let started = Instant::now();
    let max = context.config.grpc_max_message;
    let prefix = by(receive_deadline(context, started, 0), reader.prefix()).await??;
    let Some(prefix) = prefix else {
        return Err(Status::new(Code::Internal, "the request has no message").into());
    };
    if prefix.len > max {
        return Err(too_large("Received", prefix.len, max).into());
    }
    // The flow control of HTTP/2 limits what arrives of a message that is not granted.
    let wire = if prefix.len > MAX_SMALL {
        let acquired = context.memory.acquire(Use::Receive, prefix.len);
        let until = started + context.config.frame_timeout.min(MAX_TIMEOUT);
        let acquired = timeout_at(until, acquired).await;
        Some(acquired.map_err(|_| Unread::Refused(no_memory()))?)
    } else {
        None
    };
    let deadline = receive_deadline(context, Instant::now(), prefix.len);
    let message = by(deadline, reader.message(prefix)).await??;
    let received = (PREFIX_LEN + prefix.len) as u64;
    let observers = &context.config.observers;
    observers.report(|observer| observer.bytes_received(Side::Server, received));
    if by(deadline, reader.prefix()).await??.is_some() {
        return Err(Status::new(Code::Internal, "the request has more than one message").into());
    }
    decompress(reader.encoding(prefix), prefix, message, wire, context).await
}

async fn decompress(
    encoding: Encoding,
    prefix: Prefix,
    message: Bytes,
    wire: Option<Grant>,
    context: &Context,
) -> Result<(Bytes, Option<Grant>), Unread> {
    if !prefix.is_compressed {
        return Ok((message, wire));
    }
    let (len, max) = (
        encoding.announced_len(&message),
        context.config.grpc_max_message,
    );
    if len > max {
        return Err(too_large("Decompressed", len, max).into());
    }
    let unpacked = context.memory.acquire_unpacked(purpose(len), len);
    let memory = within_frame_timeout(context, unpacked).await?;
    let decompressed = if len <= MAX_INLINE_DECOMPRESSION {
        encoding.decompress(message)
    } else {
        Offload::new(move || encoding.decompress(message)).await
    };
    Ok((decompressed?, Some(memory)))
}

async fn acquire(context: &Context, bytes: usize) -> Result<Grant, Unread> {
    let purpose = purpose(bytes);
    if let Some(acquired) = context.memory.acquire_now(purpose, bytes) {
        return Ok(acquired);
    }
    within_frame_timeout(context, context.memory.acquire(purpose, bytes)).await
}

fn purpose(bytes: usize) -> Use {
    if bytes <= MAX_SMALL {
        Use::Small
    } else {
        Use::Large
    }
}

/// Waits for memory for at most the frame timeout.
async fn within_frame_timeout(
    context: &Context,
    acquired: impl Future<Output = Grant>,
) -> Result<Grant, Unread> {
    let until = Instant::now() + context.config.frame_timeout.min(MAX_TIMEOUT);
    let acquired = timeout_at(until, acquired).await;
    acquired.map_err(|_| Unread::Refused(no_memory()))
}

/// Returns when a message of this length must have arrived. A message that arrives at the least
/// rate is never cut.
fn receive_deadline(context: &Context, since: Instant, len: usize) -> Instant {
    let timeout = context.config.frame_timeout.min(MAX_TIMEOUT);
    since + timeout + Duration::from_secs(len as u64 / MIN_REQUEST_RATE)
}

/// Waits until a deadline. A future that is ready needs no timer.
async fn by<T>(deadline: Instant, future: impl Future<Output = T>) -> Result<T, Status> {
    let mut future = std::pin::pin!(future);
    if let Some(ready) = future.as_mut().now_or_never() {
        return Ok(ready);
    }
    let timed_out = |_| Status::new(Code::DeadlineExceeded, "the request did not arrive in time");
    timeout_at(deadline, future).await.map_err(timed_out)
}

fn too_large(what: &str, len: usize, max: usize) -> Status {
    let text = format!("{what} message larger than max ({len} vs. {max})");
    Status::new(Code::ResourceExhausted, text)
}

/// The maximum length of a message that is decompressed inline, which takes about a millisecond.
const MAX_INLINE_DECOMPRESSION: usize = 256 * 1024;
