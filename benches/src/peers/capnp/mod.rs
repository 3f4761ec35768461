//! The Cap'n Proto peer, which runs on one thread because its crate requires it.

// Generated from echo.capnp by capnpc 0.27.0 with capnp 0.9.2:
// `CompilerCommand::new().file("echo.capnp").default_parent_module(["peers", "capnp"])`.
#[allow(warnings, clippy::all, clippy::pedantic, reason = "generated")]
#[rustfmt::skip]
mod echo_capnp;

use ::agentwire::Endpoint;
use ::capnp::message::ReaderOptions;
use capnp_rpc::{RpcSystem, rpc_twoparty_capnp::Side, twoparty::VatNetwork};
use futures_util::{
    future::join_all,
    io::{BufReader, BufWriter},
};
use tokio::{
    io::{ReadHalf, split},
    task::{LocalSet, spawn_local},
};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt, TokioAsyncWriteCompatExt};

use self::echo_capnp::{echo, message};
use super::envelope::{ID, TIME};
use crate::{
    BenchError,
    load::{Load, Tally},
    server_control::ServerControl,
    socket::{Listener, Socket, connect},
    workload::Workload,
};

struct Echo;

impl echo::Server for Echo {
    async fn process(
        self: ::capnp::capability::Rc<Self>,
        params: echo::ProcessParams,
        mut results: echo::ProcessResults,
    ) -> Result<(), ::capnp::Error> {
        let request = params.get()?;
        let content = request.get_message()?.get_content()?;
        let mut answer = results.get();
        answer.set_id(request.get_id()?);
        fill(answer.init_message(), "agent", content.to_str()?);
        Ok(())
    }
}

fn fill(mut message: message::Builder<'_>, role: &str, content: &str) {
    message.set_role(role);
    message.set_content(content);
    message.set_timestamp(TIME);
}

pub(super) async fn serve(endpoint: &Endpoint, control: ServerControl) -> Result<(), BenchError> {
    let listener = Listener::bind(endpoint).await?;
    let accept = async {
        let client: echo::Client = capnp_rpc::new_client(Echo);
        loop {
            let network = network(listener.accept().await?, Side::Server);
            let system = RpcSystem::new(Box::new(network), Some(client.clone().client));
            // The task ends when its connection closes or the `LocalSet` is dropped.
            spawn_local(system);
        }
    };
    let endpoint = listener.endpoint()?;
    let attended = control.run_beside(&endpoint, accept);
    LocalSet::new().run_until(attended).await
}

pub(super) async fn drive(endpoint: &Endpoint, workload: &mut Workload) -> Result<(), BenchError> {
    LocalSet::new()
        .run_until(drive_locally(endpoint, workload))
        .await
}

async fn drive_locally(endpoint: &Endpoint, workload: &mut Workload) -> Result<(), BenchError> {
    let mut clients: Vec<echo::Client> = Vec::new();
    for _ in 0..workload.shape.connections {
        let network = network(connect(endpoint).await?, Side::Client);
        let mut system = RpcSystem::new(Box::new(network), None);
        clients.push(system.bootstrap(Side::Server));
        spawn_local(system);
    }
    while let Some(load) = workload.next_load().await? {
        let mut callers = Vec::new();
        for client in &clients {
            for _ in 0..workload.shape.in_flight {
                callers.push(spawn_local(call(client.clone(), load.clone())));
            }
        }
        let tallies = join_all(callers).await.into_iter();
        workload.report(tallies.collect::<Result<_, _>>()?)?;
    }
    Ok(())
}

/// Buffers both directions, as the documentation of `VatNetwork` recommends.
fn network(socket: Socket, side: Side) -> VatNetwork<BufReader<Compat<ReadHalf<Socket>>>> {
    let (reader, writer) = split(socket);
    let reader = BufReader::new(reader.compat());
    let writer = BufWriter::new(writer.compat_write());
    VatNetwork::new(reader, writer, side, ReaderOptions::new())
}

async fn call(client: echo::Client, load: Load) -> Result<Tally, BenchError> {
    let mut tally = load.start()?;
    while let Some(started) = tally.start_call() {
        let mut request = client.process_request();
        let mut params = request.get();
        params.set_id(ID);
        params.set_agent_name("echo");
        fill(params.init_message(), "user", &load.text);
        let response = request.send().promise.await?;
        let content = response.get()?.get_message()?.get_content()?;
        tally.check(content.to_str()?)?;
        tally.record(started)?;
    }
    Ok(tally)
}
