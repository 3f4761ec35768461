//! The jsonrpsee peer, which uses JSON-RPC over WebSocket.

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
    BenchError,
    load::{Load, Tally},
    server_control::ServerControl,
    shape::CHUNKS,
    workload::Workload,
};

pub(super) async fn serve(endpoint: &Endpoint, control: ServerControl) -> Result<(), BenchError> {
    let Endpoint::Tcp { host, port, .. } = endpoint else {
        return Err("the jsonrpsee peer supports only TCP".into());
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
    control.run(&endpoint).await?;
    Ok(handle.stop()?)
}

fn methods() -> Result<RpcModule<()>, BenchError> {
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

pub(super) async fn drive(endpoint: &Endpoint, workload: &mut Workload) -> Result<(), BenchError> {
    let Endpoint::Tcp { host, port, .. } = endpoint else {
        return Err("the jsonrpsee peer supports only TCP".into());
    };
    let mut clients = Vec::new();
    for _ in 0..workload.shape.connections {
        let client = WsClientBuilder::default()
            .set_tcp_no_delay(true)
            // The client closes a subscription if more than this number of chunks is queued.
            .max_buffer_capacity_per_subscription(2 * CHUNKS)
            .build(format!("ws://{host}:{port}"))
            .await?;
        clients.push(Arc::new(client));
    }
    while let Some(load) = workload.next_load().await? {
        let mut callers = JoinSet::new();
        for client in &clients {
            for _ in 0..workload.shape.in_flight {
                callers.spawn(call(Arc::clone(client), load.clone()));
            }
        }
        workload.join(callers).await?;
    }
    Ok(())
}

async fn call(client: Arc<WsClient>, load: Load) -> Result<Tally, BenchError> {
    let mut tally = load.start()?;
    while let Some(started) = tally.start_call() {
        let method = if load.stream { "stream" } else { "process" };
        let request = Envelope::request(ID.to_owned(), method, &load.text);
        let mut params = ArrayParams::new();
        params.insert(request)?;
        if load.stream {
            // jsonrpsee does not report the end of a subscription, but the number of chunks is
            // known.
            let mut chunks = client
                .subscribe::<Envelope<Answer>, _>(method, params, "stop")
                .await?;
            for _ in 0..CHUNKS {
                let chunk = chunks.next().await.ok_or("the stream ended early")??;
                tally.check(&chunk.payload.message.content)?;
            }
        } else {
            let answer: Envelope<Answer> = client.request(method, params).await?;
            tally.check(&answer.payload.message.content)?;
        }
        tally.record(started)?;
    }
    Ok(tally)
}

/// The maximum number of connections, which exceeds the number in any measurement.
const MAX_CONNECTIONS: u32 = 20_000;
