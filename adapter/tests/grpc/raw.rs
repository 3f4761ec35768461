//! A client of HTTP/2 that sends any message.

use agentwire::Endpoint;
use agentwire_proto::{Message, Request, Response, Wire, decode};
use bytes::Bytes;
use h2::{RecvStream, SendStream, client::SendRequest};
use http::{HeaderMap, StatusCode};
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

use crate::common::within;

pub(crate) const PROCESS: &str = "/agenkit.AgentService/Process";
pub(crate) const STREAM: &str = "/agenkit.AgentService/ProcessStream";

/// A connection without a library of gRPC.
pub(crate) struct RawClient {
    pub(crate) sender: SendRequest<Bytes>,
    pub(crate) driver: AbortOnDropHandle<Result<(), h2::Error>>,
}

/// What a server has answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) http: StatusCode,
    /// The messages with their prefixes.
    pub(crate) body: Vec<u8>,
    /// The status, from the trailers or from the headers.
    pub(crate) status: Option<(String, String)>,
}

impl RawClient {
    pub(crate) async fn connect(endpoint: &Endpoint) -> Self {
        let (host, port) = endpoint.host_and_port().expect("a port");
        let stream = within(TcpStream::connect((host, port))).await.expect("tcp");
        stream.set_nodelay(true).expect("option");
        let (sender, connection) = within(h2::client::handshake(stream)).await.expect("h2");
        let driver = AbortOnDropHandle::new(tokio::spawn(connection));
        Self { sender, driver }
    }

    /// Sends the head of a request.
    pub(crate) async fn start(
        &mut self,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> (h2::client::ResponseFuture, SendStream<Bytes>) {
        let mut request = http::Request::post(format!("http://test{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .expect("request");
        for (name, value) in headers {
            let value = value.parse().expect("header");
            request.headers_mut().insert(*name, value);
        }
        let sender = within(self.sender.clone().ready()).await;
        self.sender = sender.expect("the connection is open");
        self.sender.send_request(request, false).expect("stream")
    }

    /// Sends a body and waits for the whole answer.
    pub(crate) async fn exchange(
        &mut self,
        path: &str,
        headers: &[(&'static str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Answer, h2::Error> {
        let (response, mut stream) = self.start(path, headers).await;
        // The server may refuse the call before it has read the body.
        let _ = stream.send_data(body.into(), true);
        within(read(response)).await
    }

    /// Calls an agent.
    pub(crate) async fn process(&mut self, content: &str) -> Response {
        let answer = self.exchange(PROCESS, &[], framed(&request(content))).await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.status, Some(("0".into(), String::new())));
        unframed(&answer.body).remove(0)
    }
}

/// A request with one message.
pub(crate) fn request(content: &str) -> Request {
    let message = Message {
        role: "user".to_owned(),
        content: content.to_owned(),
        ..Message::default()
    };
    Request {
        id: "7".to_owned(),
        agent_name: "echo".to_owned(),
        messages: vec![message],
        ..Request::default()
    }
}

/// A message with its prefix.
pub(crate) fn framed(message: &impl prost::Message) -> Vec<u8> {
    prefixed(0, &message.encode_to_vec())
}

pub(crate) fn prefixed(flag: u8, message: &[u8]) -> Vec<u8> {
    let len = u32::try_from(message.len()).expect("a small message");
    [&[flag][..], &len.to_be_bytes(), message].concat()
}

/// The messages in a body.
pub(crate) fn unframed<M: Wire>(mut body: &[u8]) -> Vec<M> {
    let mut messages = Vec::new();
    while let Some((prefix, rest)) = body.split_first_chunk::<5>() {
        assert_eq!(prefix[0], 0, "answers are not compressed");
        let len = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
        messages.push(decode(&rest[..len], usize::MAX).expect("message").0);
        body = &rest[len..];
    }
    messages
}

pub(crate) async fn read(response: h2::client::ResponseFuture) -> Result<Answer, h2::Error> {
    let (parts, mut stream) = response.await?.into_parts();
    let body = read_body(&mut stream).await?;
    let trailers = stream.trailers().await?;
    Ok(Answer {
        http: parts.status,
        body,
        status: status(&parts.headers).or_else(|| status(&trailers?)),
    })
}

async fn read_body(stream: &mut RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut body = Vec::new();
    while let Some(bytes) = stream.data().await {
        let bytes = bytes?;
        body.extend_from_slice(&bytes);
        stream.flow_control().release_capacity(bytes.len())?;
    }
    Ok(body)
}

fn status(headers: &HeaderMap) -> Option<(String, String)> {
    let text = |name| {
        headers
            .get(name)
            .map(|text| text.to_str().expect("text").to_owned())
    };
    Some((
        text("grpc-status")?,
        text("grpc-message").unwrap_or_default(),
    ))
}
