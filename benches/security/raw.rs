//! The lower bound: frames with typed envelopes through serde_json, over tokio's sockets or
//! tokio-rustls, answered in order.

use std::{pin::Pin, sync::Arc};

use bytes::{Buf, BytesMut};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Mutex,
};

use super::{
    carriers::{Case, TEXT, WINDOW},
    certificate::Certificate,
};

trait Socket: AsyncRead + AsyncWrite + Send {}

impl<S: AsyncRead + AsyncWrite + Send> Socket for S {}

#[derive(Serialize, Deserialize)]
struct Envelope<P> {
    version: String,
    r#type: String,
    id: String,
    timestamp: String,
    payload: P,
}

#[derive(Serialize, Deserialize)]
struct Request {
    method: String,
    agent_name: String,
    message: Message,
}

#[derive(Serialize, Deserialize)]
struct Answer {
    message: Message,
}

#[derive(Serialize, Deserialize)]
struct Message {
    role: String,
    content: String,
    metadata: std::collections::BTreeMap<String, serde_json::Value>,
    timestamp: String,
}

const ID: &str = "67e55044-10b1-426f-9247-bb680e5fe0c8";
const TIME: &str = "2025-11-08T12:34:56.789012+00:00";

fn envelope<P>(kind: &str, id: String, payload: P) -> Envelope<P> {
    Envelope {
        version: "1.0".to_owned(),
        r#type: kind.to_owned(),
        id,
        timestamp: TIME.to_owned(),
        payload,
    }
}

fn message(role: &str, content: String) -> Message {
    Message {
        role: role.to_owned(),
        content,
        metadata: Default::default(),
        timestamp: TIME.to_owned(),
    }
}

fn put(frames: &mut Vec<u8>, envelope: &impl Serialize) {
    let start = frames.len();
    frames.extend_from_slice(&[0; 4]);
    serde_json::to_writer(&mut *frames, envelope).expect("JSON");
    let len = u32::try_from(frames.len() - start - 4).expect("short");
    frames[start..start + 4].copy_from_slice(&len.to_be_bytes());
}

fn put_request(frames: &mut Vec<u8>) {
    let request = Request {
        method: "process".to_owned(),
        agent_name: "weather".to_owned(),
        message: message("user", TEXT.to_owned()),
    };
    put(frames, &envelope("request", ID.to_owned(), request));
}

/// Takes the first frame, if it is complete.
fn take(buffer: &mut BytesMut) -> Option<BytesMut> {
    let len = u32::from_be_bytes(*buffer.first_chunk()?) as usize;
    if buffer.len() < 4 + len {
        return None;
    }
    buffer.advance(4);
    Some(buffer.split_to(len))
}

async fn answer_all(socket: impl Socket) -> std::io::Result<()> {
    let mut socket = Box::pin(socket);
    let (mut incoming, mut outgoing) = (BytesMut::with_capacity(SIZE), Vec::new());
    loop {
        incoming.reserve(SIZE);
        if socket.read_buf(&mut incoming).await? == 0 {
            return Ok(());
        }
        while let Some(frame) = take(&mut incoming) {
            let request: Envelope<Request> = serde_json::from_slice(&frame)?;
            let answer = Answer {
                message: message("agent", request.payload.message.content),
            };
            put(&mut outgoing, &envelope("response", request.id, answer));
        }
        socket.write_all(&outgoing).await?;
        socket.flush().await?;
        outgoing.clear();
    }
}

struct Client {
    socket: Pin<Box<dyn Socket>>,
    incoming: BytesMut,
    outgoing: Vec<u8>,
}

impl Client {
    /// Makes calls, of which `window` are in flight.
    async fn call(&mut self, calls: usize, window: usize) {
        let (mut sent, mut answered) = (0, 0);
        while answered < calls {
            while sent < calls && sent - answered < window {
                put_request(&mut self.outgoing);
                sent += 1;
            }
            self.socket.write_all(&self.outgoing).await.expect("write");
            self.socket.flush().await.expect("flush");
            self.outgoing.clear();
            self.incoming.reserve(SIZE);
            self.socket
                .read_buf(&mut self.incoming)
                .await
                .expect("read");
            while let Some(frame) = take(&mut self.incoming) {
                let answer: Envelope<Answer> = serde_json::from_slice(&frame).expect("JSON");
                assert_eq!(answer.payload.message.content, TEXT);
                answered += 1;
            }
        }
    }
}

/// Starts a server, connects to it, and returns the case.
pub(crate) async fn case(name: &'static str, certificate: Option<&Certificate>) -> Case {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let acceptor = certificate.map(Certificate::acceptor);
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        match acceptor {
            Some(acceptor) => answer_all(acceptor.accept(stream).await?).await,
            None => answer_all(stream).await,
        }
    });
    let stream = TcpStream::connect(address).await.expect("a connection");
    stream.set_nodelay(true).expect("an option");
    let socket: Pin<Box<dyn Socket>> = match certificate {
        Some(certificate) => {
            let name = "localhost".try_into().expect("a name");
            let connected = certificate.connector().connect(name, stream).await;
            Box::pin(connected.expect("a handshake"))
        }
        None => Box::pin(stream),
    };
    let client = Arc::new(Mutex::new(Client {
        socket,
        incoming: BytesMut::with_capacity(SIZE),
        outgoing: Vec::new(),
    }));
    let call = move |calls, window| {
        let client = Arc::clone(&client);
        async move { client.lock().await.call(calls, window).await }
    };
    let lone = call.clone();
    Case::new(name, move || lone(1, 1), move |calls| call(calls, WINDOW))
}

const SIZE: usize = 64 * 1024;
