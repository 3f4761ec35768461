//! A scripted peer: the other side of a connection, driven by the test.

use agentwire_codec::{Body, Envelope, EnvelopeCodec, Format, FrameLimits, Request, RequestId};
use futures_util::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::codec::Framed;

use crate::program::within;

/// A listener that the program connects to.
pub(crate) struct Peer {
    listener: TcpListener,
}

impl Peer {
    pub(crate) async fn listen() -> Self {
        let listener = within(TcpListener::bind("127.0.0.1:0"))
            .await
            .expect("bind");
        Self { listener }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("tcp://{}", self.listener.local_addr().expect("address"))
    }

    /// Accepts one connection and reads the request on it.
    pub(crate) async fn request(&self) -> (Wire<TcpStream>, RequestId, Request) {
        self.request_in(Format::Json).await
    }

    /// Accepts one connection in this format and reads the request on it.
    pub(crate) async fn request_in(&self, format: Format) -> (Wire<TcpStream>, RequestId, Request) {
        let (stream, _) = within(self.listener.accept()).await.expect("accept");
        let codec = EnvelopeCodec::new(format, FrameLimits::default());
        let mut wire = Wire(Framed::new(stream, codec));
        let envelope = wire.receive().await;
        match envelope.body {
            Body::Request(request) => (wire, envelope.id, request),
            other => panic!("not a request: {other:?}"),
        }
    }
}

/// A connection on which the test reads and writes envelopes or arbitrary bytes.
pub(crate) struct Wire<S>(Framed<S, EnvelopeCodec>);

impl Wire<TcpStream> {
    pub(crate) async fn connect(endpoint: &str) -> Self {
        let address = endpoint.strip_prefix("tcp://").expect("a TCP endpoint");
        Self::new(within(TcpStream::connect(address)).await.expect("connect"))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self(Framed::new(stream, EnvelopeCodec::default()))
    }

    pub(crate) async fn receive(&mut self) -> Envelope {
        let envelope = within(self.0.next()).await.expect("not the end");
        envelope.expect("a frame").expect("an envelope")
    }

    pub(crate) async fn send(&mut self, id: &RequestId, body: impl Into<Body>) {
        let envelope = Envelope::new(id.clone(), body);
        within(self.0.send(&envelope)).await.expect("send");
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        within(self.0.get_mut().write_all(bytes))
            .await
            .expect("send");
    }

    pub(crate) async fn send_payload(&mut self, payload: &str) {
        self.send_bytes(&frame(payload)).await;
    }
}

/// Prefixes a payload with its length.
pub(crate) fn frame(payload: &str) -> Vec<u8> {
    let header = u32::try_from(payload.len()).expect("a short payload");
    [&header.to_be_bytes(), payload.as_bytes()].concat()
}
