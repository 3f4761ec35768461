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
    Stream(Option<h2::Error>),
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

/// Sends bytes as fast as the peer reads them. The stream stays open.
pub(crate) async fn send(
    stream: &mut SendStream<Bytes>,
    mut bytes: Bytes,
    stall: Duration,
) -> Result<(), SendError> {
    while !bytes.is_empty() {
        stream.reserve_capacity(bytes.len());
        if stream.capacity() == 0 {
            let capacity = poll_fn(|cx| stream.poll_capacity(cx));
            match timeout(stall, capacity).await {
                Ok(Some(Ok(_))) => continue,
                Ok(Some(Err(error))) => return Err(SendError::Stream(Some(error))),
                Ok(None) => return Err(SendError::Stream(None)),
                Err(_) => return Err(SendError::Stalled),
            }
        }
        let part = bytes.split_to(stream.capacity().min(bytes.len()));
        let sent = stream.send_data(part, false);
        sent.map_err(|error| SendError::Stream(Some(error)))?;
    }
    Ok(())
}
