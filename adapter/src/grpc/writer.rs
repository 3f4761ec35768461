//! Writes messages.

use std::{future::poll_fn, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};
use h2::SendStream;
use prost::Message;
use tokio::time::timeout;

use super::reader::PREFIX_LEN;

/// The reason why a message was not sent.
#[derive(Debug)]
pub(crate) enum SendError {
    /// The stream or its connection has ended.
    Stream,
    /// The peer has not read anything for too long.
    Stalled,
}

/// Encodes a message with its prefix. Messages are not compressed: most of them are small, and
/// every reader accepts them.
///
/// # Errors
///
/// Returns the length of the message if it exceeds `max`.
pub(crate) fn frame(message: &impl Message, max: usize) -> Result<Bytes, usize> {
    let len = message.encoded_len();
    let announced = u32::try_from(len).ok().filter(|_| len <= max);
    let announced = announced.ok_or(len)?;
    let mut buffer = BytesMut::with_capacity(PREFIX_LEN + len);
    buffer.put_u8(0);
    buffer.put_u32(announced);
    // The buffer grows if needed, so encoding cannot fail.
    let _ = message.encode(&mut buffer);
    Ok(buffer.freeze())
}

/// Sends a message as fast as the peer reads it. The stream stays open.
///
/// # Errors
///
/// Returns an error if the stream has ended, or if the peer reads nothing for the duration of
/// `stall`.
pub(crate) async fn send(
    stream: &mut SendStream<Bytes>,
    mut bytes: Bytes,
    stall: Duration,
) -> Result<(), SendError> {
    while !bytes.is_empty() {
        stream.reserve_capacity(bytes.len());
        if stream.capacity() == 0 {
            let wait = timeout(stall, capacity(stream)).await;
            wait.map_err(|_| SendError::Stalled)??;
            continue;
        }
        send_part(stream, &mut bytes)?;
    }
    Ok(())
}

/// Waits until the peer reads more.
async fn capacity(stream: &mut SendStream<Bytes>) -> Result<(), SendError> {
    match poll_fn(|cx| stream.poll_capacity(cx)).await {
        Some(Ok(_)) => Ok(()),
        Some(Err(_)) | None => Err(SendError::Stream),
    }
}

/// Sends as many bytes as the peer reads.
fn send_part(stream: &mut SendStream<Bytes>, bytes: &mut Bytes) -> Result<(), SendError> {
    let part = bytes.split_to(stream.capacity().min(bytes.len()));
    let sent = stream.send_data(part, false);
    sent.map_err(|_| SendError::Stream)
}
