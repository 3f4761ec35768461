//! The peers that are libraries of WebSocket: an echo of typed envelopes through serde_json.

mod tokio_websockets;
mod tungstenite;

use std::{collections::VecDeque, future::Future, time::Instant};

use ::agentwire::Endpoint;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

pub(super) use self::{tokio_websockets::TokioWebSockets, tungstenite::Tungstenite};
use super::envelope::{Answer, Envelope, ID, Request};
use crate::{
    BenchError,
    load::{Load, Tally},
    server_control::ServerControl,
    workload::Workload,
};

/// A connection of a library. Its limits exceed every message of a measurement.
pub(super) trait Socket: Sized + Send + 'static {
    /// The payload of a binary message.
    type Payload: AsRef<[u8]> + Send;

    fn accept(stream: TcpStream) -> impl Future<Output = Result<Self, BenchError>> + Send;

    fn connect(
        stream: TcpStream,
        url: &str,
    ) -> impl Future<Output = Result<Self, BenchError>> + Send;

    /// Waits for a binary message. Returns `None` if the peer has closed the connection.
    fn next(&mut self) -> impl Future<Output = Result<Option<Self::Payload>, BenchError>> + Send;

    /// Writes a binary message into the buffer.
    fn feed(&mut self, payload: Vec<u8>) -> impl Future<Output = Result<(), BenchError>> + Send;

    fn flush(&mut self) -> impl Future<Output = Result<(), BenchError>> + Send;
}

pub(super) async fn serve<S: Socket>(
    endpoint: &Endpoint,
    control: ServerControl,
) -> Result<(), BenchError> {
    let listener = TcpListener::bind(endpoint.host_and_port().ok_or(NOT_TCP)?).await?;
    let address = listener.local_addr()?;
    let endpoint = Endpoint::tcp(address.ip().to_string(), address.port())?;
    let mut connections = JoinSet::new();
    let accept = async {
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            connections.spawn(answer_all::<S>(stream));
            // Remove the tasks of closed connections.
            while connections.try_join_next().is_some() {}
        }
    };
    control.run_beside(&endpoint, accept).await
}

async fn answer_all<S: Socket>(stream: TcpStream) -> Result<(), BenchError> {
    let mut socket = S::accept(stream).await?;
    while let Some(request) = socket.next().await? {
        let request: Envelope<Request> = ::serde_json::from_slice(request.as_ref())?;
        socket
            .feed(::serde_json::to_vec(&request.answer())?)
            .await?;
        socket.flush().await?;
    }
    Ok(())
}

pub(super) async fn drive<S: Socket>(
    endpoint: &Endpoint,
    workload: &mut Workload,
) -> Result<(), BenchError> {
    let (host, port) = endpoint.host_and_port().ok_or(NOT_TCP)?;
    let in_flight = workload.shape.in_flight;
    let mut sockets = Vec::new();
    for _ in 0..workload.shape.connections {
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        sockets.push(S::connect(stream, &format!("ws://{host}:{port}/")).await?);
    }
    let calls = |mut socket, load| async move {
        let tally = call_on(&mut socket, in_flight, load).await;
        (socket, tally)
    };
    workload.run_on(sockets, calls).await
}

/// Keeps `in_flight` calls in flight on a connection. Replies arrive in the order of the requests.
async fn call_on<S: Socket>(
    socket: &mut S,
    in_flight: usize,
    load: Load,
) -> Result<Tally, BenchError> {
    let mut tally = load.start()?;
    let mut started: VecDeque<Instant> = VecDeque::new();
    for start in std::iter::from_fn(|| tally.start_call()).take(in_flight) {
        started.push_back(start);
        socket.feed(request(&load)?).await?;
    }
    while !started.is_empty() {
        socket.flush().await?;
        let answer = socket
            .next()
            .await?
            .ok_or("the server closed the connection")?;
        let answer: Envelope<Answer> = ::serde_json::from_slice(answer.as_ref())?;
        tally.check(&answer.payload.message.content)?;
        tally.record(started.pop_front().ok_or("an answer without a request")?)?;
        if let Some(start) = tally.start_call() {
            started.push_back(start);
            socket.feed(request(&load)?).await?;
        }
    }
    Ok(tally)
}

fn request(load: &Load) -> Result<Vec<u8>, BenchError> {
    let envelope = Envelope::request(ID.to_owned(), "process", &load.text);
    Ok(::serde_json::to_vec(&envelope)?)
}

/// The maximum message size, which exceeds the frame limit of the other peers.
const MAX_MESSAGE: usize = 16 * 1024 * 1024;

const NOT_TCP: &str = "the peers of WebSocket support only TCP";
