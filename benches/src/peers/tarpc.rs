use std::{error::Error, io};

use ::agentwire::Endpoint;
use ::tarpc::{
    ClientMessage, Response, client,
    context::Context,
    serde_transport::Transport,
    server::{BaseChannel, Channel},
    tokio_serde::{
        Deserializer, Serializer,
        formats::{Bincode, Json},
    },
};
use futures_util::StreamExt;
use tokio::task::JoinSet;

use super::envelope::{Answer, Envelope, ID, Request};
use crate::{
    Failure,
    client::Course,
    load::{Load, Tally},
    server::Attendant,
    socket::{Listener, Socket, connect},
};

/// How messages are written.
#[derive(Clone, Copy)]
pub(super) enum Format {
    Json,
    Bincode,
}

// The macro makes them public.
#[allow(missing_docs, unreachable_pub, reason = "the macro's own code")]
mod service {
    use super::{Answer, Envelope, Request};

    #[tarpc::service]
    pub(in super::super) trait Echo {
        async fn process(request: Envelope<Request>) -> Envelope<Answer>;
    }
}

use service::{Echo, EchoClient, EchoRequest, EchoResponse};

#[derive(Clone)]
struct Server;

impl Echo for Server {
    async fn process(self, _: Context, request: Envelope<Request>) -> Envelope<Answer> {
        request.answer()
    }
}

pub(super) async fn serve(
    endpoint: &Endpoint,
    attendant: Attendant,
    format: Format,
) -> Result<(), Failure> {
    let listener = Listener::bind(endpoint).await?;
    let mut connections = JoinSet::new();
    let accept = async {
        loop {
            connections.spawn(serve_connection(listener.accept().await?, format));
            while connections.try_join_next().is_some() {}
        }
    };
    attendant.attend_while(&listener.endpoint()?, accept).await
}

type Incoming = ClientMessage<EchoRequest>;
type Outgoing = Response<EchoResponse>;

async fn serve_connection(socket: Socket, format: Format) {
    match format {
        Format::Json => serve_on(socket, Json::<Incoming, Outgoing>::default()).await,
        Format::Bincode => serve_on(socket, Bincode::<Incoming, Outgoing>::default()).await,
    }
}

/// A task for each request, as in tarpc's examples.
async fn serve_on<C, E>(socket: Socket, codec: C)
where
    C: Serializer<Outgoing, Error = E> + Deserializer<Incoming, Error = E> + Send + 'static,
    E: Error + Send + Sync + 'static,
    io::Error: From<E>,
{
    let channel = BaseChannel::with_defaults(Transport::from((socket, codec)));
    let mut answers = JoinSet::new();
    let mut requests = std::pin::pin!(channel.execute(Server.serve()));
    while let Some(request) = requests.next().await {
        answers.spawn(request);
        while answers.try_join_next().is_some() {}
    }
}

pub(super) async fn drive(
    endpoint: &Endpoint,
    course: &mut Course,
    format: Format,
) -> Result<(), Failure> {
    let mut clients = Vec::new();
    for _ in 0..course.shape.connections {
        let (socket, config) = (connect(endpoint).await?, client::Config::default());
        clients.push(match format {
            Format::Json => {
                let codec = Json::<Outgoing, Incoming>::default();
                EchoClient::new(config, Transport::from((socket, codec))).spawn()
            }
            Format::Bincode => {
                let codec = Bincode::<Outgoing, Incoming>::default();
                EchoClient::new(config, Transport::from((socket, codec))).spawn()
            }
        });
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

async fn call(client: EchoClient, load: Load) -> Result<Tally, Failure> {
    let mut tally = load.begin()?;
    while let Some(begun) = tally.call() {
        let request = Envelope::request(ID.to_owned(), "process", &load.text);
        let answer = client.process(Context::current(), request).await?;
        tally.answer(&answer.payload.message.content)?;
        tally.done(begun)?;
    }
    Ok(tally)
}
