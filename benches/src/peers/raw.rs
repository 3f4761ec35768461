//! What a program that knows exactly what it wants could do at best: frames on a socket, in order.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::{Buf, BytesMut};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    task::JoinSet,
};

use super::{Driven, histogram};
use crate::{Failure, shape::Shape};

/// How payloads are made and read.
pub(super) trait Codec: Copy + Send + Sync + 'static {
    fn request(self, text: &str, payload: &mut Vec<u8>) -> Result<(), Failure>;
    fn answer(self, request: &[u8], payload: &mut Vec<u8>) -> Result<(), Failure>;
    fn check(self, answer: &[u8], text: &str) -> Result<(), Failure>;
}

/// Bytes as they are, with as many around the text as an envelope has.
#[derive(Clone, Copy)]
pub(super) struct Echo;

const ENVELOPE: usize = 250;

impl Codec for Echo {
    fn request(self, text: &str, payload: &mut Vec<u8>) -> Result<(), Failure> {
        payload.resize(payload.len() + ENVELOPE, b'.');
        payload.extend_from_slice(text.as_bytes());
        Ok(())
    }

    fn answer(self, request: &[u8], payload: &mut Vec<u8>) -> Result<(), Failure> {
        payload.extend_from_slice(request);
        Ok(())
    }

    fn check(self, answer: &[u8], text: &str) -> Result<(), Failure> {
        match answer.len() == ENVELOPE + text.len() {
            true => Ok(()),
            false => Err("another answer than the echo".into()),
        }
    }
}

/// Typed envelopes through serde_json.
#[derive(Clone, Copy)]
pub(super) struct SerdeJson;

const ID: &str = "67e55044-10b1-426f-9247-bb680e5fe0c8";
const TIME: &str = "2025-11-08T12:34:56.789012+00:00";

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
        metadata: std::collections::BTreeMap::new(),
        timestamp: TIME.to_owned(),
    }
}

impl Codec for SerdeJson {
    fn request(self, text: &str, payload: &mut Vec<u8>) -> Result<(), Failure> {
        let request = Request {
            method: "process".to_owned(),
            agent_name: "echo".to_owned(),
            message: message("user", text.to_owned()),
        };
        Ok(serde_json::to_writer(
            payload,
            &envelope("request", ID.to_owned(), request),
        )?)
    }

    fn answer(self, request: &[u8], payload: &mut Vec<u8>) -> Result<(), Failure> {
        let request: Envelope<Request> = serde_json::from_slice(request)?;
        let answer = Answer {
            message: message("agent", request.payload.message.content),
        };
        Ok(serde_json::to_writer(
            payload,
            &envelope("response", request.id, answer),
        )?)
    }

    fn check(self, answer: &[u8], text: &str) -> Result<(), Failure> {
        let answer: Envelope<Answer> = serde_json::from_slice(answer)?;
        match answer.payload.message.content.len() == text.len() {
            true => Ok(()),
            false => Err("another answer than the echo".into()),
        }
    }
}

const HEADER: usize = 4;

/// Appends one frame.
fn put(
    buffer: &mut Vec<u8>,
    payload: impl FnOnce(&mut Vec<u8>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; HEADER]);
    payload(buffer)?;
    let len = u32::try_from(buffer.len() - start - HEADER)?;
    buffer[start..start + HEADER].copy_from_slice(&len.to_be_bytes());
    Ok(())
}

/// The length of the payload at the front, once it is there.
fn peek(buffer: &[u8]) -> Option<usize> {
    let len = u32::from_be_bytes(*buffer.first_chunk::<HEADER>()?) as usize;
    (buffer.len() - HEADER >= len).then_some(len)
}

pub(super) async fn serve(path: &str, codec: impl Codec) -> Result<(), Failure> {
    let listener = UnixListener::bind(path)?;
    let mut connections = JoinSet::new();
    let accept = async {
        loop {
            let (stream, _) = listener.accept().await?;
            connections.spawn(answer_all(stream, codec));
        }
    };
    tokio::select! {
        result = accept => result,
        ended = crate::process::ready_until_stdin_ends() => ended,
    }
}

async fn answer_all(mut stream: UnixStream, codec: impl Codec) -> Result<(), Failure> {
    let (mut incoming, mut outgoing) = (BytesMut::with_capacity(64 * 1024), Vec::new());
    while stream.read_buf(&mut incoming).await? > 0 {
        while let Some(len) = peek(&incoming) {
            let request = &incoming[HEADER..HEADER + len];
            put(&mut outgoing, |payload| codec.answer(request, payload))?;
            incoming.advance(HEADER + len);
        }
        stream.write_all(&outgoing).await?;
        outgoing.clear();
    }
    Ok(())
}

pub(super) async fn drive(
    path: &str,
    shape: Shape,
    duration: Duration,
    codec: impl Codec,
) -> Result<Driven, Failure> {
    let start = Instant::now();
    let mut connections = JoinSet::new();
    for _ in 0..shape.connections {
        let stream = UnixStream::connect(path).await?;
        connections.spawn(call_on(stream, shape, start + duration, codec));
    }
    let mut latency = histogram()?;
    while let Some(connection) = connections.join_next().await {
        latency.add(connection??)?;
    }
    let elapsed = start.elapsed();
    Ok(Driven { latency, elapsed })
}

/// Keeps so many calls in flight; answers come in the order of the requests.
async fn call_on(
    mut stream: UnixStream,
    shape: Shape,
    until: Instant,
    codec: impl Codec,
) -> Result<hdrhistogram::Histogram<u64>, Failure> {
    let text = shape.text();
    let mut latency = histogram()?;
    let (mut incoming, mut outgoing) = (BytesMut::with_capacity(64 * 1024), Vec::new());
    let mut begun = VecDeque::new();
    for _ in 0..shape.in_flight {
        begun.push_back(Instant::now());
        put(&mut outgoing, |payload| codec.request(&text, payload))?;
    }
    loop {
        stream.write_all(&outgoing).await?;
        outgoing.clear();
        if stream.read_buf(&mut incoming).await? == 0 {
            return Err("the server has closed the connection".into());
        }
        while let Some(len) = peek(&incoming) {
            codec.check(&incoming[HEADER..HEADER + len], &text)?;
            incoming.advance(HEADER + len);
            let start = begun.pop_front().ok_or("an answer that nobody waits for")?;
            let now = Instant::now();
            latency.record(u64::try_from((now - start).as_nanos())?)?;
            if now < until {
                begun.push_back(Instant::now());
                put(&mut outgoing, |payload| codec.request(&text, payload))?;
            }
        }
        if begun.is_empty() {
            return Ok(latency);
        }
    }
}
