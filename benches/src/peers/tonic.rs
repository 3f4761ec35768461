use std::{collections::HashMap, pin::Pin};

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

use super::envelope::{ID, TIME};
use crate::{
    Failure,
    client::Course,
    load::{Load, Tally},
    server::Attendant,
    shape::CHUNKS,
    socket::Listener,
};
use generated::{echo_client::EchoClient, echo_server, echo_server::EchoServer};

#[derive(Clone, PartialEq, prost::Message)]
struct Request {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(string, tag = "2")]
    agent_name: String,
    #[prost(message, optional, tag = "3")]
    message: Option<Message>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Answer {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(message, optional, tag = "2")]
    message: Option<Message>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Message {
    #[prost(string, tag = "1")]
    role: String,
    #[prost(string, tag = "2")]
    content: String,
    #[prost(map = "string, string", tag = "3")]
    metadata: HashMap<String, String>,
    #[prost(string, tag = "4")]
    timestamp: String,
}

/// Made by `build.rs`.
#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::use_self,
    reason = "generated"
)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/benches.Echo.rs"));
}

/// As large as the frames of the others may be.
const MAX_MESSAGE: usize = 10 * 1024 * 1024;

struct Echo;

impl Request {
    fn new(text: &str) -> Self {
        Self {
            id: ID.to_owned(),
            agent_name: "echo".to_owned(),
            message: Some(message("user", text.to_owned())),
        }
    }

    fn answer(self) -> Answer {
        let content = self.message.unwrap_or_default().content;
        Answer {
            id: self.id,
            message: Some(message("agent", content)),
        }
    }
}

fn message(role: &str, content: String) -> Message {
    Message {
        role: role.to_owned(),
        content,
        metadata: HashMap::new(),
        timestamp: TIME.to_owned(),
    }
}

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

pub(super) async fn serve(endpoint: &Endpoint, attendant: Attendant) -> Result<(), Failure> {
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
    attendant.attend_while(&endpoint, served).await
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

pub(super) async fn drive(endpoint: &Endpoint, course: &mut Course) -> Result<(), Failure> {
    let target = match endpoint {
        Endpoint::Tcp { host, port, .. } => format!("http://{host}:{port}"),
        other => other.to_string(),
    };
    let mut clients = Vec::new();
    for _ in 0..course.shape.connections {
        let channel = Target::from_shared(target.clone())?.connect().await?;
        let client = EchoClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE);
        clients.push(client);
    }
    while let Some(load) = course.next().await? {
        let mut callers = JoinSet::new();
        for client in &clients {
            for _ in 0..course.shape.in_flight {
                callers.spawn(call(client.clone(), load.clone()));
            }
        }
        course.gather(callers).await?;
    }
    Ok(())
}

async fn call(mut client: EchoClient<Channel>, load: Load) -> Result<Tally, Failure> {
    let mut tally = load.begin()?;
    while let Some(begun) = tally.call() {
        let request = Request::new(&load.text);
        if load.stream {
            let mut chunks = client.stream(request).await?.into_inner();
            while let Some(chunk) = chunks.message().await? {
                tally.answer(&chunk.message.unwrap_or_default().content)?;
            }
        } else {
            let answer = client.process(request).await?.into_inner();
            tally.answer(&answer.message.unwrap_or_default().content)?;
        }
        tally.done(begun)?;
    }
    Ok(tally)
}
