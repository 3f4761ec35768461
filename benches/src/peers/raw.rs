//! What a program that knows exactly what it wants could do at best: frames on a socket, in order.

use std::{collections::VecDeque, io, time::Instant};

use ::agentwire::Endpoint;
use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinSet,
};

use super::frame::{peek, put};
use crate::{
    Failure,
    client::Course,
    load::{Load, Tally},
    server::Attendant,
    shape::CHUNKS,
    socket::{Listener, Socket, connect},
};

/// How payloads are made and read.
pub(super) trait Codec: Copy + Send + Sync + 'static {
    fn request(self, method: Method, text: &str, payload: &mut Vec<u8>) -> Result<(), Failure>;

    /// Appends the frame of the answer; for a stream, those of all its chunks.
    fn answer(self, request: &[u8], outgoing: &mut Vec<u8>) -> Result<(), Failure>;

    /// Reads the text of an answer.
    fn text<R>(self, answer: &[u8], read: impl FnOnce(&str) -> R) -> Result<R, Failure>;
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Method {
    Process,
    Stream,
}

/// The buffers begin with this much room. That for reading has as much again for as large a frame as came.
const ROOM: usize = 64 * 1024;

/// Reads more. A buffer with nothing in it is used again from its front, without a copy of what is in it.
async fn read_more(
    socket: &mut Socket,
    incoming: &mut BytesMut,
    largest: usize,
) -> io::Result<usize> {
    if incoming.is_empty() {
        incoming.reserve(ROOM.max(largest));
    }
    socket.read_buf(incoming).await
}

pub(super) async fn serve(
    endpoint: &Endpoint,
    attendant: Attendant,
    codec: impl Codec,
) -> Result<(), Failure> {
    let listener = Listener::bind(endpoint).await?;
    let mut connections = JoinSet::new();
    let accept = async {
        loop {
            connections.spawn(answer_all(listener.accept().await?, codec));
            // Those that have ended are not kept.
            while connections.try_join_next().is_some() {}
        }
    };
    attendant.attend_while(&listener.endpoint()?, accept).await
}

async fn answer_all(mut socket: Socket, codec: impl Codec) -> Result<(), Failure> {
    let (mut incoming, mut outgoing) = (BytesMut::new(), Vec::with_capacity(ROOM));
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
    course: &mut Course,
    codec: impl Codec,
) -> Result<(), Failure> {
    let in_flight = course.shape.in_flight;
    let mut sockets = Vec::new();
    for _ in 0..course.shape.connections {
        sockets.push(connect(endpoint).await?);
    }
    while let Some(load) = course.next().await? {
        let mut connections = JoinSet::new();
        for mut socket in sockets.drain(..) {
            let load = load.clone();
            connections.spawn(async move {
                let tally = call_on(&mut socket, in_flight, load, codec).await;
                (socket, tally)
            });
        }
        let mut tallies = Vec::new();
        while let Some(connection) = connections.join_next().await {
            let (socket, tally) = connection?;
            sockets.push(socket);
            tallies.push(tally);
        }
        course.report(tallies)?;
    }
    Ok(())
}

/// Keeps so many calls in flight; answers come in the order of the requests.
async fn call_on(
    socket: &mut Socket,
    in_flight: usize,
    load: Load,
    codec: impl Codec,
) -> Result<Tally, Failure> {
    let (method, answers) = if load.stream {
        (Method::Stream, CHUNKS)
    } else {
        (Method::Process, 1)
    };
    let (mut incoming, mut outgoing) = (BytesMut::new(), Vec::with_capacity(ROOM));
    let (mut tally, mut largest) = (load.begin()?, 0);
    // When each call began, and how many answers it still has to get.
    let mut begun: VecDeque<(Instant, usize)> = VecDeque::new();
    for start in std::iter::from_fn(|| tally.call()).take(in_flight) {
        begun.push_back((start, answers));
        put(&mut outgoing, |payload| {
            codec.request(method, &load.text, payload)
        })?;
    }
    while !begun.is_empty() {
        socket.write_all(&outgoing).await?;
        outgoing.clear();
        if read_more(socket, &mut incoming, largest).await? == 0 {
            return Err("the server has closed the connection".into());
        }
        while let Some((answer, frame)) = peek(&incoming) {
            codec.text(answer, |text| tally.answer(text))??;
            incoming.advance(frame);
            largest = largest.max(frame);
            let (start, left) = begun.front_mut().ok_or("an answer that nobody waits for")?;
            *left -= 1;
            if *left == 0 {
                tally.done(*start)?;
                begun.pop_front();
                if let Some(start) = tally.call() {
                    begun.push_back((start, answers));
                    put(&mut outgoing, |payload| {
                        codec.request(method, &load.text, payload)
                    })?;
                }
            }
        }
    }
    Ok(tally)
}
