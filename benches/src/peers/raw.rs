//! The peer for the lower bound of the cost, which only exchanges frames over a socket and answers
//! them in order.

use std::{collections::VecDeque, io, time::Instant};

use ::agentwire::Endpoint;
use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinSet,
};

use super::frame::{peek, put};
use crate::{
    BenchError,
    load::{Load, Tally},
    server_control::ServerControl,
    shape::CHUNKS,
    socket::{Listener, Socket, connect},
    workload::Workload,
};

/// A codec that encodes and decodes payloads.
pub(super) trait Codec: Copy + Send + Sync + 'static {
    fn request(self, method: Method, text: &str, payload: &mut Vec<u8>) -> Result<(), BenchError>;

    /// Appends the frame of the reply. For a stream, appends the frames of all chunks.
    fn answer(self, request: &[u8], outgoing: &mut Vec<u8>) -> Result<(), BenchError>;

    /// Decodes a reply and passes its text to `read`.
    fn text<R>(self, answer: &[u8], read: impl FnOnce(&str) -> R) -> Result<R, BenchError>;
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Method {
    Process,
    Stream,
}

/// Reads more bytes into the buffer. An empty buffer is reused from its start without copying.
async fn read_more(
    socket: &mut Socket,
    incoming: &mut BytesMut,
    largest: usize,
) -> io::Result<usize> {
    if incoming.is_empty() {
        incoming.reserve(INITIAL_CAPACITY.max(largest));
    }
    socket.read_buf(incoming).await
}

pub(super) async fn serve(
    endpoint: &Endpoint,
    control: ServerControl,
    codec: impl Codec,
) -> Result<(), BenchError> {
    let listener = Listener::bind(endpoint).await?;
    let mut connections = JoinSet::new();
    let accept = async {
        loop {
            connections.spawn(answer_all(listener.accept().await?, codec));
            // Remove the tasks of closed connections.
            while connections.try_join_next().is_some() {}
        }
    };
    control.run_beside(&listener.endpoint()?, accept).await
}

async fn answer_all(mut socket: Socket, codec: impl Codec) -> Result<(), BenchError> {
    let (mut incoming, mut outgoing) = (BytesMut::new(), Vec::with_capacity(INITIAL_CAPACITY));
    let mut largest = 0;
    while read_more(&mut socket, &mut incoming, largest).await? > 0 {
        while let Some((request, frame)) = peek(&incoming) {
            codec.answer(request, &mut outgoing)?;
            incoming.advance(frame);
            largest = largest.max(frame);
        }
        socket.write_all(&outgoing).await?;
        outgoing.clear();
    }
    Ok(())
}

pub(super) async fn drive(
    endpoint: &Endpoint,
    workload: &mut Workload,
    codec: impl Codec,
) -> Result<(), BenchError> {
    let in_flight = workload.shape.in_flight;
    let mut sockets = Vec::new();
    for _ in 0..workload.shape.connections {
        sockets.push(connect(endpoint).await?);
    }
    let calls = |mut socket, load| async move {
        let tally = call_on(&mut socket, in_flight, load, codec).await;
        (socket, tally)
    };
    workload.run_on(sockets, calls).await
}

/// Keeps `in_flight` calls in flight on a connection. Replies arrive in the order of the requests.
async fn call_on(
    socket: &mut Socket,
    in_flight: usize,
    load: Load,
    codec: impl Codec,
) -> Result<Tally, BenchError> {
    let (method, answers) = if load.stream {
        (Method::Stream, CHUNKS)
    } else {
        (Method::Process, 1)
    };
    let (mut incoming, mut outgoing) = (BytesMut::new(), Vec::with_capacity(INITIAL_CAPACITY));
    let (mut tally, mut largest) = (load.start()?, 0);
    // The start time of each call and the number of its outstanding replies.
    let mut started: VecDeque<(Instant, usize)> = VecDeque::new();
    for start in std::iter::from_fn(|| tally.start_call()).take(in_flight) {
        started.push_back((start, answers));
        put(&mut outgoing, |payload| {
            codec.request(method, &load.text, payload)
        })?;
    }
    while !started.is_empty() {
        socket.write_all(&outgoing).await?;
        outgoing.clear();
        if read_more(socket, &mut incoming, largest).await? == 0 {
            return Err("the server closed the connection".into());
        }
        while let Some((answer, frame)) = peek(&incoming) {
            codec.text(answer, |text| tally.check(text))??;
            incoming.advance(frame);
            largest = largest.max(frame);
            let (start, left) = started.front_mut().ok_or("an answer without a request")?;
            *left -= 1;
            if *left == 0 {
                tally.record(*start)?;
                started.pop_front();
                if let Some(start) = tally.start_call() {
                    started.push_back((start, answers));
                    put(&mut outgoing, |payload| {
                        codec.request(method, &load.text, payload)
                    })?;
                }
            }
        }
    }
    Ok(tally)
}

/// The initial capacity of buffers. A read buffer grows to the length of the largest frame that has
/// arrived.
const INITIAL_CAPACITY: usize = 64 * 1024;
