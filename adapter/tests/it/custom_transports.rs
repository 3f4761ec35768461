//! Custom transports, and clients that cope with slow and faulty ones.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use crate::common::{RawPeer, call, within};
use agentwire::{
    Endpoint, RemoteAgent,
    transport::{self, BoxFuture, Connection, Connector},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, BufStream, DuplexStream, ReadBuf},
    sync::mpsc,
    time::Instant,
};

/// Makes connections and sends their other ends to the test.
#[derive(Debug)]
struct Patchbay {
    endpoint: Endpoint,
    near: fn(DuplexStream) -> Connection,
    far: mpsc::Sender<DuplexStream>,
}

impl Patchbay {
    fn new(near: fn(DuplexStream) -> Connection) -> (Self, mpsc::Receiver<DuplexStream>) {
        let (far, connections) = mpsc::channel(1);
        let endpoint = Endpoint::custom("patchbay");
        let patchbay = Self {
            endpoint,
            near,
            far,
        };
        (patchbay, connections)
    }
}

impl Connector for Patchbay {
    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn connect(&self) -> BoxFuture<'_, Result<Connection, transport::Error>> {
        Box::pin(async {
            let (near, far) = tokio::io::duplex(1024);
            self.far.send(far).await.unwrap();
            Ok((self.near)(near))
        })
    }
}

async fn accept(connections: &mut mpsc::Receiver<DuplexStream>) -> RawPeer {
    let far = within(connections.recv()).await.unwrap();
    RawPeer {
        connection: Connection::custom(far, "far"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_buffers_is_flushed_however_long_that_takes() {
    // The connection accepts a whole request at once, and passes it on bit by bit.
    let (patchbay, mut connections) = Patchbay::new(|near| {
        let buffered = BufStream::with_capacity(8 * 1024, 256 * 1024, near);
        Connection::custom(buffered, "near")
    });
    let remote = RemoteAgent::builder("memory://unused")
        .connector(patchbay)
        .build()
        .unwrap();
    let called = call(&remote, &"x".repeat(50_000));
    let mut peer = accept(&mut connections).await;
    let id = peer.receive().await.id;
    peer.answer(&id, "whole").await;
    assert_eq!(called.await.unwrap().unwrap().text(), Some("whole"));
}

struct PanicsWhenRead(DuplexStream);

impl AsyncRead for PanicsWhenRead {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let _ = ready!(Pin::new(&mut self.0).poll_read(cx, buffer));
        panic!("the transport is broken");
    }
}

impl AsyncWrite for PanicsWhenRead {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_transport_fails_the_calls_that_share_it_at_once() {
    let (patchbay, mut connections) =
        Patchbay::new(|near| Connection::custom(PanicsWhenRead(near), "near"));
    let remote = RemoteAgent::builder("memory://unused")
        .connector(patchbay)
        .max_connections(1)
        .max_in_flight_per_connection(2)
        .build()
        .unwrap();
    let called = call(&remote, "x");
    let mut peer = accept(&mut connections).await;
    let id = peer.receive().await.id;
    let start = Instant::now();
    peer.answer(&id, "never read").await;
    let error = called.await.unwrap().unwrap_err();
    assert!(error.is_disconnected(), "{error}");
    assert_eq!(start.elapsed(), Duration::ZERO);
}
