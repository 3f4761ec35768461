//! A typical hand-written implementation of a shared connection: a client handle, a driver task
//! that owns the socket, and a table of pending calls.

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
    BenchError,
    load::{Load, Tally},
    server_control::ServerControl,
    socket::{Listener, Socket, connect},
    workload::Workload,
};

type Pending = oneshot::Sender<Envelope<Answer>>;

#[derive(Clone)]
struct Client {
    requests: mpsc::Sender<(Envelope<Request>, Pending)>,
}

impl Client {
    async fn process(&self, id: String, text: &str) -> Result<Envelope<Answer>, BenchError> {
        let (pending, answer) = oneshot::channel();
        let request = Envelope::request(id, "process", text);
        self.requests.send((request, pending)).await?;
        Ok(answer.await?)
    }
}

/// Writes queued requests to the socket, and delivers each reply to its caller by id.
async fn drive_connection(
    socket: Socket,
    mut requests: mpsc::Receiver<(Envelope<Request>, Pending)>,
) -> Result<(), BenchError> {
    let (mut frames, mut answers) = Framed::new(socket, codec()).split();
    let mut pending: HashMap<String, Pending> = HashMap::new();
    loop {
        tokio::select! {
            request = requests.recv() => {
                let Some(mut next) = request else {
                    return Ok(());
                };
                // Send all queued requests with a single write.
                loop {
                    let (request, sender) = next;
                    frames.feed(encode(&request)?).await?;
                    pending.insert(request.id, sender);
                    match requests.try_recv() {
                        Ok(request) => next = request,
                        Err(_) => break,
                    }
                }
                frames.flush().await?;
            }
            answer = answers.next() => {
                let answer = answer.ok_or("the server closed the connection")??;
                let answer: Envelope<Answer> = ::serde_json::from_slice(&answer)?;
                if let Some(sender) = pending.remove(&answer.id) {
                    // Sending fails if the caller has dropped its call, so ignore the error.
                    let _ = sender.send(answer);
                }
            }
        }
    }
}

pub(super) async fn serve(endpoint: &Endpoint, control: ServerControl) -> Result<(), BenchError> {
    let listener = Listener::bind(endpoint).await?;
    let mut connections = JoinSet::new();
    let accept = async {
        loop {
            connections.spawn(serve_connection(listener.accept().await?));
            while connections.try_join_next().is_some() {}
        }
    };
    control.run_beside(&listener.endpoint()?, accept).await
}

/// Reads requests, spawns a task for each request, and writes the replies.
async fn serve_connection(socket: Socket) -> Result<(), BenchError> {
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

fn encode(envelope: &impl ::serde::Serialize) -> Result<Bytes, BenchError> {
    let mut payload = BytesMut::new().writer();
    ::serde_json::to_writer(&mut payload, envelope)?;
    Ok(payload.into_inner().freeze())
}

pub(super) async fn drive(endpoint: &Endpoint, workload: &mut Workload) -> Result<(), BenchError> {
    let mut drivers = JoinSet::new();
    let mut clients = Vec::new();
    for _ in 0..workload.shape.connections {
        let (requests, queue) = mpsc::channel(QUEUE);
        drivers.spawn(drive_connection(connect(endpoint).await?, queue));
        clients.push(Client { requests });
    }
    while let Some(load) = workload.next_load().await? {
        let mut callers = JoinSet::new();
        for client in &clients {
            for caller in 0..workload.shape.in_flight {
                callers.spawn(call(client.clone(), caller, load.clone()));
            }
        }
        workload.join(callers).await?;
    }
    Ok(())
}

async fn call(client: Client, caller: usize, load: Load) -> Result<Tally, BenchError> {
    let mut tally = load.start()?;
    let mut number = 0_u64;
    while let Some(started) = tally.start_call() {
        number += 1;
        // The id has the length of a UUID and is unique among the calls in flight.
        let id = format!("{caller:018}{number:018}");
        let answer = client.process(id, &load.text).await?;
        tally.check(&answer.payload.message.content)?;
        tally.record(started)?;
    }
    Ok(tally)
}

/// The capacity of the queues for requests and replies. If a queue is full, senders wait.
const QUEUE: usize = 128;
