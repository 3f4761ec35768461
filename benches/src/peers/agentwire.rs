//! The agentwire peer.

use agentwire::{
    Agent, AgentError, Endpoint, Format, LocalAgent, Message, RemoteAgent, RequestContext,
};
use futures_util::{Stream, StreamExt, stream};
use tokio::task::JoinSet;

use crate::{
    BenchError,
    load::{Load, Tally},
    server_control::ServerControl,
    shape::CHUNKS,
    workload::Workload,
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

/// Serves the echo, with the carrier of the scheme above TCP if there is one.
pub(super) async fn serve(
    endpoint: &Endpoint,
    scheme: Option<&str>,
    control: ServerControl,
) -> Result<(), BenchError> {
    let endpoint = match (scheme, endpoint.host_and_port()) {
        (Some(scheme), Some((host, port))) => format!("{scheme}://{host}:{port}"),
        _ => endpoint.to_string(),
    };
    let server = LocalAgent::builder(Echo)
        .max_connections(MAX_CONNECTIONS)
        .endpoint(endpoint)
        .serve()
        .await?;
    control.run(server.endpoint()).await?;
    server.stop().await;
    Ok(())
}

/// Runs the client. Calls share a connection if `max_in_flight` is greater than one.
pub(super) async fn drive(
    endpoint: &Endpoint,
    workload: &mut Workload,
    format: Format,
    max_in_flight: usize,
) -> Result<(), BenchError> {
    let shape = workload.shape;
    let separate = shape.separate;
    let max_in_flight = Some(max_in_flight);
    drive_clients(endpoint, workload, format, max_in_flight, separate).await
}

/// Runs the client over a carrier of HTTP/2, where all calls of a client share one connection by
/// default.
pub(super) async fn drive_http2(
    endpoint: &Endpoint,
    workload: &mut Workload,
) -> Result<(), BenchError> {
    drive_clients(endpoint, workload, Format::Json, None, true).await
}

async fn drive_clients(
    endpoint: &Endpoint,
    workload: &mut Workload,
    format: Format,
    max_in_flight: Option<usize>,
    separate: bool,
) -> Result<(), BenchError> {
    let shape = workload.shape;
    let (clients, connections) = if separate {
        (shape.connections, 1)
    } else {
        (1, shape.connections)
    };
    let mut remotes = Vec::new();
    for _ in 0..clients {
        let mut builder = RemoteAgent::builder(endpoint)
            .name("echo")
            .format(format)
            .max_connections(connections);
        if let Some(calls) = max_in_flight {
            builder = builder.max_in_flight_per_connection(calls);
        }
        remotes.push(builder.build()?);
    }
    while let Some(load) = workload.next_load().await? {
        let mut callers = JoinSet::new();
        for remote in &remotes {
            for _ in 0..connections * shape.in_flight {
                callers.spawn(call(remote.clone(), load.clone()));
            }
        }
        workload.join(callers).await?;
    }
    for remote in remotes {
        remote.close().await;
    }
    Ok(())
}

async fn call(remote: RemoteAgent, load: Load) -> Result<Tally, BenchError> {
    let mut tally = load.start()?;
    while let Some(started) = tally.start_call() {
        let message = Message::user(&*load.text);
        if load.stream {
            let mut chunks = remote.stream(message);
            while let Some(chunk) = chunks.next().await {
                tally.check(chunk?.text().ok_or(NO_TEXT)?)?;
            }
        } else {
            let reply = remote.process(message).await?;
            tally.check(reply.text().ok_or(NO_TEXT)?)?;
        }
        tally.record(started)?;
    }
    Ok(tally)
}

/// The maximum number of connections, which exceeds the number in any measurement.
const MAX_CONNECTIONS: usize = 20_000;

const NO_TEXT: &str = "the answer has no text";
