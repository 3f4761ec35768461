//! The tonic peer, which uses gRPC over HTTP/2.

use std::pin::Pin;

use ::agentwire::Endpoint;
use ::tonic::{
    Response, Status,
    transport::{Channel, Endpoint as Target, Server},
};
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use tokio::{
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    task::JoinSet,
};

use super::tonic_messages::{
    Answer, Request,
    generated::{echo_client::EchoClient, echo_server, echo_server::EchoServer},
};
use crate::{
    BenchError,
    load::{Load, Tally},
    server_control::ServerControl,
    shape::CHUNKS,
    socket::Listener,
    workload::Workload,
};

struct Echo;

#[::tonic::async_trait]
impl echo_server::Echo for Echo {
    async fn process(
        &self,
        request: ::tonic::Request<Request>,
    ) -> Result<Response<Answer>, Status> {
        Ok(Response::new(request.into_inner().answer()))
    }

    type StreamStream = Pin<Box<dyn Stream<Item = Result<Answer, Status>> + Send>>;

    async fn stream(
        &self,
        request: ::tonic::Request<Request>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let answer = request.into_inner().answer();
        let chunks = stream::repeat_with(move || Ok(answer.clone())).take(CHUNKS);
        Ok(Response::new(chunks.boxed()))
    }
}

pub(super) async fn serve(endpoint: &Endpoint, control: ServerControl) -> Result<(), BenchError> {
    let listener = Listener::bind(endpoint).await?;
    let endpoint = listener.endpoint()?;
    let echo = EchoServer::new(Echo)
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE);
    let router = Server::builder().add_service(echo);
    let served = async {
        match listener {
            Listener::Unix(listener) => router.serve_with_incoming(accept_unix(listener)).await?,
            Listener::Tcp(listener) => router.serve_with_incoming(accept_tcp(listener)).await?,
        }
        Ok(())
    };
    control.run_beside(&endpoint, served).await
}

fn accept_unix(listener: UnixListener) -> impl Stream<Item = std::io::Result<UnixStream>> {
    stream::unfold(listener, |listener| async {
        let accepted = listener.accept().await;
        Some((accepted.map(|(stream, _)| stream), listener))
    })
}

fn accept_tcp(listener: TcpListener) -> impl Stream<Item = std::io::Result<TcpStream>> {
    let accepted = stream::unfold(listener, |listener| async {
        let accepted = listener.accept().await;
        Some((accepted.map(|(stream, _)| stream), listener))
    });
    accepted.and_then(|stream| async {
        stream.set_nodelay(true)?;
        Ok(stream)
    })
}

pub(super) async fn drive(endpoint: &Endpoint, workload: &mut Workload) -> Result<(), BenchError> {
    let target = match endpoint {
        Endpoint::Tcp { host, port, .. } => format!("http://{host}:{port}"),
        other => other.to_string(),
    };
    let mut clients = Vec::new();
    for _ in 0..workload.shape.connections {
        let channel = Target::from_shared(target.clone())?.connect().await?;
        let client = EchoClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE);
        clients.push(client);
    }
    while let Some(load) = workload.next_load().await? {
        let mut callers = JoinSet::new();
        for client in &clients {
            for _ in 0..workload.shape.in_flight {
                callers.spawn(call(client.clone(), load.clone()));
            }
        }
        workload.join(callers).await?;
    }
    Ok(())
}

async fn call(mut client: EchoClient<Channel>, load: Load) -> Result<Tally, BenchError> {
    let mut tally = load.start()?;
    while let Some(started) = tally.start_call() {
        let request = Request::new("echo", &load.text);
        if load.stream {
            let mut chunks = client.stream(request).await?.into_inner();
            while let Some(chunk) = chunks.message().await? {
                tally.check(&chunk.message.unwrap_or_default().content)?;
            }
        } else {
            let answer = client.process(request).await?.into_inner();
            tally.check(&answer.message.unwrap_or_default().content)?;
        }
        tally.record(started)?;
    }
    Ok(tally)
}

/// The maximum message size, which equals the frame limit of the other peers.
const MAX_MESSAGE: usize = 10 * 1024 * 1024;
