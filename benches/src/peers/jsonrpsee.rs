use std::sync::Arc;

use ::agentwire::Endpoint;
use ::jsonrpsee::{
    core::{
        client::{ClientT, SubscriptionClientT},
        params::ArrayParams,
        to_json_raw_value,
    },
    server::{RpcModule, Server, ServerConfig},
    types::ErrorObjectOwned,
    ws_client::{WsClient, WsClientBuilder},
};
use tokio::task::JoinSet;

use super::envelope::{Answer, Envelope, ID, Request};
use crate::{
    Failure,
    client::Course,
    load::{Load, Tally},
    server::Attendant,
    shape::CHUNKS,
};

/// More than any measurement has.
const MAX_CONNECTIONS: u32 = 20_000;

pub(super) async fn serve(endpoint: &Endpoint, attendant: Attendant) -> Result<(), Failure> {
    let Endpoint::Tcp { host, port, .. } = endpoint else {
        return Err("jsonrpsee serves TCP only".into());
    };
    let config = ServerConfig::builder()
        .max_connections(MAX_CONNECTIONS)
        .set_tcp_no_delay(true)
        .ws_only()
        .build();
    let server = Server::builder()
        .set_config(config)
        .build((host.as_str(), *port))
        .await?;
    let address = server.local_addr()?;
    let handle = server.start(methods()?);
    let endpoint = Endpoint::tcp(address.ip().to_string(), address.port())?;
    attendant.attend(&endpoint).await?;
    Ok(handle.stop()?)
}

fn methods() -> Result<RpcModule<()>, Failure> {
    let mut methods = RpcModule::new(());
    methods.register_async_method("process", |params, _, _| async move {
        let request: Envelope<Request> = params.one()?;
        Ok::<_, ErrorObjectOwned>(request.answer())
    })?;
    methods.register_subscription(
        "stream",
        "chunk",
        "stop",
        |params, pending, _, _| async move {
            let request: Envelope<Request> = params.one()?;
            let answer = request.answer();
            let sink = pending.accept().await?;
            for _ in 0..CHUNKS {
                sink.send(to_json_raw_value(&answer)?).await?;
            }
            Ok(())
        },
    )?;
    Ok(methods)
}

pub(super) async fn drive(endpoint: &Endpoint, course: &mut Course) -> Result<(), Failure> {
    let Endpoint::Tcp { host, port, .. } = endpoint else {
        return Err("jsonrpsee is called over TCP only".into());
    };
    let mut clients = Vec::new();
    for _ in 0..course.shape.connections {
        let client = WsClientBuilder::default()
            .set_tcp_no_delay(true)
            // A subscription that is further behind is ended.
            .max_buffer_capacity_per_subscription(2 * CHUNKS)
            .build(format!("ws://{host}:{port}"))
            .await?;
        clients.push(Arc::new(client));
    }
    while let Some(load) = course.next().await? {
        let mut callers = JoinSet::new();
        for client in &clients {
            for _ in 0..course.shape.in_flight {
                callers.spawn(call(Arc::clone(client), load.clone()));
            }
        }
        course.gather(callers).await?;
    }
    Ok(())
}

async fn call(client: Arc<WsClient>, load: Load) -> Result<Tally, Failure> {
    let mut tally = load.begin()?;
    while let Some(begun) = tally.call() {
        let method = if load.stream { "stream" } else { "process" };
        let request = Envelope::request(ID.to_owned(), method, &load.text);
        let mut params = ArrayParams::new();
        params.insert(request)?;
        if load.stream {
            // Its end is not told, but its length is known.
            let mut chunks = client
                .subscribe::<Envelope<Answer>, _>(method, params, "stop")
                .await?;
            for _ in 0..CHUNKS {
                let chunk = chunks.next().await.ok_or("a stream that is too short")??;
                tally.answer(&chunk.payload.message.content)?;
            }
        } else {
            let answer: Envelope<Answer> = client.request(method, params).await?;
            tally.answer(&answer.payload.message.content)?;
        }
        tally.done(begun)?;
    }
    Ok(tally)
}
