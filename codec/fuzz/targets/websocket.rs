//! Checks that any bytes of a WebSocket client, in any pieces, yield the same messages and the same
//! end, and that messages have their lengths in front of them.
#![no_main]

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use agentwire_transport::{Connection, WebSocketOptions};
use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

const LIMIT: usize = 1 << 16;

/// A peer that sends these bytes in pieces of one size, and closes.
struct Peer {
    bytes: Vec<u8>,
    sent: usize,
    piece: usize,
}

impl AsyncRead for Peer {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let rest = &self.bytes[self.sent..];
        let count = rest.len().min(self.piece).min(buf.remaining());
        buf.put_slice(&rest[..count]);
        self.sent += count;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Peer {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Reads everything. Returns the complete messages and the error at the end.
async fn read(bytes: &[u8], piece: usize) -> (Vec<Vec<u8>>, Option<String>) {
    let peer = Peer {
        bytes: bytes.to_vec(),
        sent: 0,
        piece,
    };
    let options = WebSocketOptions::new().max_message(LIMIT);
    let mut socket = Connection::custom(peer, "peer").into_websocket(&options, &[]);
    let mut received = Vec::new();
    let end = socket.read_to_end(&mut received).await;
    let mut messages = Vec::new();
    let mut rest = received.as_slice();
    while let Some((len, after)) = rest.split_first_chunk::<4>() {
        let len = u32::from_be_bytes(*len) as usize;
        assert!(len <= LIMIT, "a message over the limit");
        let Some((message, after)) = after.split_at_checked(len) else {
            break;
        };
        messages.push(message.to_vec());
        rest = after;
    }
    (messages, end.err().map(|error| error.to_string()))
}

fuzz_target!(|bytes: &[u8]| {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("runtime");
    runtime.block_on(async {
        let whole = read(bytes, usize::MAX).await;
        for piece in [1, 2, 7] {
            assert_eq!(read(bytes, piece).await, whole);
        }
    });
});
