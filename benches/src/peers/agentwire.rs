use agentwire::{
    Agent, AgentError, Endpoint, Format, LocalAgent, Message, RemoteAgent, RequestContext,
};
use futures_util::{Stream, StreamExt, stream};
use tokio::task::JoinSet;

use crate::{
    Failure,
    client::Course,
    load::{Load, Tally},
    server::Attendant,
    shape::CHUNKS,
};

struct Echo;

impl Agent for Echo {
    fn name(&self) -> &str {
        "echo"
    }

    async fn process(&self, message: Message, _: RequestContext) -> Result<Message, AgentError> {
        Ok(Message::agent(message.content))
    }

    fn stream(
        &self,
        message: Message,
        _: RequestContext,
    ) -> impl Stream<Item = Result<Message, AgentError>> + Send {
        stream::repeat_with(move || Ok(Message::agent(message.content.clone()))).take(CHUNKS)
    }
}

/// More than any measurement has.
const MAX_CONNECTIONS: usize = 20_000;

pub(super) async fn serve(endpoint: &Endpoint, attendant: Attendant) -> Result<(), Failure> {
    let server = LocalAgent::builder(Echo)
        .max_connections(MAX_CONNECTIONS)
        .endpoint(endpoint)
        .serve()
        .await?;
    attendant.attend(server.endpoint()).await?;
    server.stop().await;
    Ok(())
}

/// Calls share a connection if more than one may be in flight on it.
pub(super) async fn drive(
    endpoint: &Endpoint,
    course: &mut Course,
    format: Format,
    max_in_flight: usize,
) -> Result<(), Failure> {
    let shape = course.shape;
    let (clients, connections) = if shape.separate {
        (shape.connections, 1)
    } else {
        (1, shape.connections)
    };
    let mut remotes = Vec::new();
    for _ in 0..clients {
        let remote = RemoteAgent::builder(endpoint)
            .name("echo")
            .format(format)
            .max_connections(connections)
            .max_in_flight_per_connection(max_in_flight)
            .build()?;
        remotes.push(remote);
    }
    while let Some(load) = course.next().await? {
        let mut callers = JoinSet::new();
        for remote in &remotes {
            for _ in 0..connections * shape.in_flight {
                callers.spawn(call(remote.clone(), load.clone()));
            }
        }
        course.gather(callers).await?;
    }
    for remote in remotes {
        remote.close().await;
    }
    Ok(())
}

async fn call(remote: RemoteAgent, load: Load) -> Result<Tally, Failure> {
    let mut tally = load.begin()?;
    while let Some(begun) = tally.call() {
        let message = Message::user(&*load.text);
        if load.stream {
            let mut chunks = remote.stream(message);
            while let Some(chunk) = chunks.next().await {
                tally.answer(chunk?.text().ok_or(NO_TEXT)?)?;
            }
        } else {
            let reply = remote.process(message).await?;
            tally.answer(reply.text().ok_or(NO_TEXT)?)?;
        }
        tally.done(begun)?;
    }
    Ok(tally)
}

const NO_TEXT: &str = "an answer without text";
