//! A client handle, a driver task that owns the socket, and a table of who waits for which answer: what programs
//! usually write when calls are to share a connection.

use std::collections::HashMap;

use ::agentwire::Endpoint;
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};
use tokio_util::codec::{Framed, LengthDelimitedCodec};

use super::envelope::{Answer, Envelope, Request};
use crate::{
    Failure,
    client::Course,
    load::{Load, Tally},
    server::Attendant,
    socket::{Listener, Socket, connect},
};

/// How many requests, or answers, wait for the driver before those who make them wait.
const QUEUE: usize = 128;

type Waiting = oneshot::Sender<Envelope<Answer>>;

#[derive(Clone)]
struct Client {
    requests: mpsc::Sender<(Envelope<Request>, Waiting)>,
}

impl Client {
    async fn process(&self, id: String, text: &str) -> Result<Envelope<Answer>, Failure> {
        let (waiting, answer) = oneshot::channel();
        let request = Envelope::request(id, "process", text);
        self.requests.send((request, waiting)).await?;
        Ok(answer.await?)
    }
}

/// Writes what callers put in line, and hands out the answers by id.
async fn drive_connection(
    socket: Socket,
    mut requests: mpsc::Receiver<(Envelope<Request>, Waiting)>,
) -> Result<(), Failure> {
    let (mut frames, mut answers) = Framed::new(socket, codec()).split();
    let mut waiting: HashMap<String, Waiting> = HashMap::new();
    loop {
        tokio::select! {
            request = requests.recv() => {
                let Some(mut next) = request else {
                    return Ok(());
                };
                // What is in line leaves in one write.
                loop {
                    let (request, waits) = next;
                    frames.feed(encode(&request)?).await?;
                    waiting.insert(request.id, waits);
                    match requests.try_recv() {
                        Ok(request) => next = request,
                        Err(_) => break,
                    }
                }
                frames.flush().await?;
            }
            answer = answers.next() => {
                let answer = answer.ok_or("the server has closed the connection")??;
                let answer: Envelope<Answer> = ::serde_json::from_slice(&answer)?;
                if let Some(waits) = waiting.remove(&answer.id) {
                    // Who has given up is gone.
                    let _ = waits.send(answer);
                }
            }
        }
    }
}

pub(super) async fn serve(endpoint: &Endpoint, attendant: Attendant) -> Result<(), Failure> {
    let listener = Listener::bind(endpoint).await?;
    let mut connections = JoinSet::new();
    let accept = async {
        loop {
            connections.spawn(serve_connection(listener.accept().await?));
            while connections.try_join_next().is_some() {}
        }
    };
    attendant.attend_while(&listener.endpoint()?, accept).await
}

/// A task for each request, and this one for the socket.
async fn serve_connection(socket: Socket) -> Result<(), Failure> {
    let (mut frames, mut requests) = Framed::new(socket, codec()).split();
    let (done, mut answers) = mpsc::channel::<Envelope<Answer>>(QUEUE);
    let mut handlers = JoinSet::new();
    loop {
        tokio::select! {
            request = requests.next(), if handlers.len() < QUEUE => {
                let Some(request) = request else {
                    return Ok(());
                };
                let request: Envelope<Request> = ::serde_json::from_slice(&request?[..])?;
                let done = done.clone();
                handlers.spawn(async move { done.send(request.answer()).await });
            }
            Some(mut answer) = answers.recv() => {
                loop {
                    frames.feed(encode(&answer)?).await?;
                    match answers.try_recv() {
                        Ok(next) => answer = next,
                        Err(_) => break,
                    }
                }
                frames.flush().await?;
            }
            Some(handled) = handlers.join_next() => handled??,
        }
    }
}

fn codec() -> LengthDelimitedCodec {
    LengthDelimitedCodec::new()
}

fn encode(envelope: &impl ::serde::Serialize) -> Result<Bytes, Failure> {
    let mut payload = BytesMut::new().writer();
    ::serde_json::to_writer(&mut payload, envelope)?;
    Ok(payload.into_inner().freeze())
}

pub(super) async fn drive(endpoint: &Endpoint, course: &mut Course) -> Result<(), Failure> {
    let mut drivers = JoinSet::new();
    let mut clients = Vec::new();
    for _ in 0..course.shape.connections {
        let (requests, queue) = mpsc::channel(QUEUE);
        drivers.spawn(drive_connection(connect(endpoint).await?, queue));
        clients.push(Client { requests });
    }
    while let Some(load) = course.next().await? {
        let mut callers = JoinSet::new();
        for client in &clients {
            for caller in 0..course.shape.in_flight {
                callers.spawn(call(client.clone(), caller, load.clone()));
            }
        }
        course.gather(callers).await?;
    }
    Ok(())
}

async fn call(client: Client, caller: usize, load: Load) -> Result<Tally, Failure> {
    let mut tally = load.begin()?;
    let mut number = 0_u64;
    while let Some(begun) = tally.call() {
        number += 1;
        // As long as a UUID, and different for each call in flight.
        let id = format!("{caller:018}{number:018}");
        let answer = client.process(id, &load.text).await?;
        tally.answer(&answer.payload.message.content)?;
        tally.done(begun)?;
    }
    Ok(tally)
}
