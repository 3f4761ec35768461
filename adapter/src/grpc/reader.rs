//! Reads the messages of a request or of a response.

use std::future::poll_fn;

use bytes::{Buf, Bytes, BytesMut};
use h2::RecvStream;
use http::HeaderMap;

use super::{Code, Encoding, Status};
use crate::connection::MAX_SMALL;

/// The messages that a peer sends on one stream.
///
/// A message is read in two steps, so that its reader can refuse it or wait for memory before the
/// message is received. In the meantime, the flow control of HTTP/2 stops the peer.
#[derive(Debug)]
pub(crate) struct MessageReader {
    body: RecvStream,
    encoding: Encoding,
    received: BytesMut,
    has_ended: bool,
}

/// The start of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Prefix {
    pub(crate) is_compressed: bool,
    pub(crate) len: usize,
}

/// The reason why no message can be read.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// The stream or its connection has ended.
    Stream(h2::Error),
    /// The peer violates the protocol.
    Status(Status),
}

impl MessageReader {
    pub(crate) fn new(body: RecvStream, encoding: Encoding) -> Self {
        Self {
            body,
            encoding,
            received: BytesMut::new(),
            has_ended: false,
        }
    }

    /// Reads the start of the next message. Returns `None` at the end of the messages.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe.
    pub(crate) async fn prefix(&mut self) -> Result<Option<Prefix>, ReadError> {
        while self.received.len() < PREFIX_LEN {
            if !self.receive().await? {
                return match self.received.len() {
                    0 => Ok(None),
                    _ => Err(truncated()),
                };
            }
        }
        let flag = self.received.get_u8();
        let len = self.received.get_u32() as usize;
        match flag {
            0 | 1 => Ok(Some(Prefix {
                is_compressed: flag == 1,
                len,
            })),
            _ => {
                let text = format!("invalid compression flag {flag}");
                Err(ReadError::Status(Status::new(Code::Internal, text)))
            }
        }
    }

    /// Reads a message whose start has been read. The message may be compressed.
    pub(crate) async fn message(&mut self, prefix: Prefix) -> Result<Bytes, ReadError> {
        // A server has acquired memory for a message of this size, and for no smaller one.
        if prefix.len > MAX_SMALL {
            let missing = prefix.len.saturating_sub(self.received.len());
            self.received.reserve(missing.min(MAX_RESERVED));
        }
        while self.received.len() < prefix.len {
            if !self.receive().await? {
                return Err(truncated());
            }
        }
        Ok(self.received.split_to(prefix.len).freeze())
    }

    /// Returns the compression of a message.
    pub(crate) fn encoding(&self, prefix: Prefix) -> Encoding {
        if prefix.is_compressed {
            self.encoding
        } else {
            Encoding::Identity
        }
    }

    /// Reads the trailers after the last message.
    pub(crate) async fn trailers(&mut self) -> Result<Option<HeaderMap>, h2::Error> {
        poll_fn(|cx| self.body.poll_trailers(cx)).await
    }

    /// Receives more bytes. Returns `false` at the end.
    async fn receive(&mut self) -> Result<bool, ReadError> {
        if self.has_ended {
            return Ok(false);
        }
        let received = poll_fn(|cx| self.body.poll_data(cx)).await;
        let Some(bytes) = received.transpose().map_err(ReadError::Stream)? else {
            self.has_ended = true;
            return Ok(false);
        };
        // The bytes are read, so the peer may send as many again. The call fails only for more
        // bytes than were received.
        let _ = self.body.flow_control().release_capacity(bytes.len());
        if self.received.is_empty() {
            // Most messages arrive in one piece, and are not copied if their memory is not shared.
            self.received = bytes
                .try_into_mut()
                .unwrap_or_else(|bytes| BytesMut::from(&*bytes));
        } else {
            self.received.extend_from_slice(&bytes);
        }
        Ok(true)
    }
}

fn truncated() -> ReadError {
    let text = "the stream ended inside a message";
    ReadError::Status(Status::new(Code::Internal, text))
}

pub(crate) const PREFIX_LEN: usize = 5;

/// What is reserved for a message before any of it has arrived. The rest is reserved when it
/// arrives, because the peer may announce more than it sends.
const MAX_RESERVED: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use h2::SendStream;
    use http::Request;
    use tokio::{io::duplex, sync::oneshot};
    use tokio_util::task::AbortOnDropHandle;

    use super::*;

    /// Both ends of a request, with the tasks that drive their connections.
    struct Pair {
        sender: SendStream<Bytes>,
        reader: MessageReader,
        _tasks: [AbortOnDropHandle<()>; 2],
    }

    async fn pair() -> Pair {
        let (near, far) = duplex(64 * 1024);
        let (sent, received) = oneshot::channel();
        let server = tokio::spawn(async move {
            let mut connection = h2::server::handshake(far).await.unwrap();
            let (request, respond) = connection.accept().await.unwrap().unwrap();
            sent.send(request.into_body()).unwrap();
            // The stream would be reset without its response.
            let _respond = respond;
            while connection.accept().await.is_some() {}
        });
        let (mut requests, connection) = h2::client::handshake(near).await.unwrap();
        let client = tokio::spawn(async move { drop(connection.await) });
        let request = Request::post("http://test/").body(()).unwrap();
        let (_, sender) = requests.send_request(request, false).unwrap();
        Pair {
            sender,
            reader: MessageReader::new(received.await.unwrap(), Encoding::Identity),
            _tasks: [server, client].map(AbortOnDropHandle::new),
        }
    }

    #[tokio::test]
    async fn a_message_that_is_only_announced_takes_little_memory() {
        for (len, reserved) in [
            (MAX_SMALL, 0),
            (MAX_SMALL + 1, MAX_SMALL + 1),
            (MAX_RESERVED, MAX_RESERVED),
            (1 << 30, MAX_RESERVED),
        ] {
            let Pair {
                mut sender,
                mut reader,
                _tasks,
            } = pair().await;
            let len_bytes = u32::try_from(len).unwrap().to_be_bytes();
            let start = [&[0][..], &len_bytes].concat();
            sender.send_data(start.into(), false).unwrap();
            let prefix = reader.prefix().await.unwrap().unwrap();
            assert_eq!(prefix.len, len);
            assert!(reader.message(prefix).now_or_never().is_none(), "no bytes");
            let capacity = reader.received.capacity();
            let expected = reserved..=reserved + PREFIX_LEN;
            assert!(expected.contains(&capacity), "{len} bytes: {capacity}");
        }
    }
}
