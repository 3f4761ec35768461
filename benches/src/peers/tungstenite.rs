//! The tokio-tungstenite peer: an echo over WebSocket with typed envelopes through serde_json.

use std::{collections::VecDeque, time::Instant};

use ::agentwire::Endpoint;
use futures_util::{SinkExt, StreamExt};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_tungstenite::{
    WebSocketStream, accept_async_with_config, client_async_with_config,
    tungstenite::{Message, protocol::WebSocketConfig},
};

use super::envelope::{Answer, Envelope, ID, Request};
use crate::{
    BenchError,
    load::{Load, Tally},
    server_control::ServerControl,
    workload::Workload,
};

type Socket = WebSocketStream<TcpStream>;

pub(super) async fn serve(endpoint: &Endpoint, control: ServerControl) -> Result<(), BenchError> {
    let listener = TcpListener::bind(endpoint.host_and_port().ok_or(NOT_TCP)?).await?;
    let address = listener.local_addr()?;
    let endpoint = Endpoint::tcp(address.ip().to_string(), address.port())?;
    let mut connections = JoinSet::new();
    let accept = async {
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            connections.spawn(answer_all(stream));
            // Remove the tasks of closed connections.
            while connections.try_join_next().is_some() {}
        }
    };
    control.run_beside(&endpoint, accept).await
}

async fn answer_all(stream: TcpStream) -> Result<(), BenchError> {
    let mut socket = accept_async_with_config(stream, Some(config())).await?;
    while let Some(message) = socket.next().await {
        if let Message::Binary(request) = message? {
            let request: Envelope<Request> = ::serde_json::from_slice(&request)?;
            let answer = ::serde_json::to_vec(&request.answer())?;
            socket.send(Message::Binary(answer.into())).await?;
        }
    }
    Ok(())
}

pub(super) async fn drive(endpoint: &Endpoint, workload: &mut Workload) -> Result<(), BenchError> {
    let (host, port) = endpoint.host_and_port().ok_or(NOT_TCP)?;
    let in_flight = workload.shape.in_flight;
    let mut sockets = Vec::new();
    for _ in 0..workload.shape.connections {
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        let url = format!("ws://{host}:{port}/");
        let (socket, _) = client_async_with_config(url, stream, Some(config())).await?;
        sockets.push(socket);
    }
    while let Some(load) = workload.next_load().await? {
        let mut connections = JoinSet::new();
        for mut socket in sockets.drain(..) {
            let load = load.clone();
            connections.spawn(async move {
                let tally = call_on(&mut socket, in_flight, load).await;
                (socket, tally)
            });
        }
        let mut tallies = Vec::new();
        while let Some(connection) = connections.join_next().await {
            let (socket, tally) = connection?;
            sockets.push(socket);
            tallies.push(tally);
        }
        workload.report(tallies)?;
    }
    Ok(())
}

/// Keeps `in_flight` calls in flight on a connection. Replies arrive in the order of the requests.
async fn call_on(socket: &mut Socket, in_flight: usize, load: Load) -> Result<Tally, BenchError> {
    let mut tally = load.start()?;
    let mut started: VecDeque<Instant> = VecDeque::new();
    for start in std::iter::from_fn(|| tally.start_call()).take(in_flight) {
        started.push_back(start);
        socket.feed(request(&load)?).await?;
    }
    while !started.is_empty() {
        socket.flush().await?;
        let message = socket
            .next()
            .await
            .ok_or("the server closed the connection")??;
        let Message::Binary(answer) = message else {
            continue;
        };
        let answer: Envelope<Answer> = ::serde_json::from_slice(&answer)?;
        tally.check(&answer.payload.message.content)?;
        tally.record(started.pop_front().ok_or("an answer without a request")?)?;
        if let Some(start) = tally.start_call() {
            started.push_back(start);
            socket.feed(request(&load)?).await?;
        }
    }
    Ok(tally)
}

fn request(load: &Load) -> Result<Message, BenchError> {
    let envelope = Envelope::request(ID.to_owned(), "process", &load.text);
    Ok(Message::Binary(::serde_json::to_vec(&envelope)?.into()))
}

/// A configuration without limits that a measurement could reach.
fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE))
}

/// The maximum message size, which exceeds the frame limit of the other peers.
const MAX_MESSAGE: usize = 16 * 1024 * 1024;

const NOT_TCP: &str = "the tungstenite peer supports only TCP";
