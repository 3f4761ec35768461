//! Cap'n Proto on a runtime of one thread, as its crate wants it.

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
    Failure,
    client::Course,
    load::{Load, Tally},
    server::Attendant,
    socket::{Listener, Socket, connect},
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

pub(super) async fn serve(endpoint: &Endpoint, attendant: Attendant) -> Result<(), Failure> {
    let listener = Listener::bind(endpoint).await?;
    let accept = async {
        let client: echo::Client = capnp_rpc::new_client(Echo);
        loop {
            let network = network(listener.accept().await?, Side::Server);
            let system = RpcSystem::new(Box::new(network), Some(client.clone().client));
            // It ends with its connection, and all of them with the set that they are in.
            spawn_local(system);
        }
    };
    let endpoint = listener.endpoint()?;
    let attended = attendant.attend_while(&endpoint, accept);
    LocalSet::new().run_until(attended).await
}

pub(super) async fn drive(endpoint: &Endpoint, course: &mut Course) -> Result<(), Failure> {
    LocalSet::new()
        .run_until(drive_locally(endpoint, course))
        .await
}

async fn drive_locally(endpoint: &Endpoint, course: &mut Course) -> Result<(), Failure> {
    let mut clients: Vec<echo::Client> = Vec::new();
    for _ in 0..course.shape.connections {
        let network = network(connect(endpoint).await?, Side::Client);
        let mut system = RpcSystem::new(Box::new(network), None);
        clients.push(system.bootstrap(Side::Server));
        spawn_local(system);
    }
    while let Some(load) = course.next().await? {
        let mut callers = Vec::new();
        for client in &clients {
            for _ in 0..course.shape.in_flight {
                callers.push(spawn_local(call(client.clone(), load.clone())));
            }
        }
        let tallies = join_all(callers).await.into_iter();
        course.report(tallies.collect::<Result<_, _>>()?)?;
    }
    Ok(())
}

/// With buffers, as the documentation of `VatNetwork` advises.
fn network(socket: Socket, side: Side) -> VatNetwork<BufReader<Compat<ReadHalf<Socket>>>> {
    let (reader, writer) = split(socket);
    let reader = BufReader::new(reader.compat());
    let writer = BufWriter::new(writer.compat_write());
    VatNetwork::new(reader, writer, side, ReaderOptions::new())
}

async fn call(client: echo::Client, load: Load) -> Result<Tally, Failure> {
    let mut tally = load.begin()?;
    while let Some(begun) = tally.call() {
        let mut request = client.process_request();
        let mut params = request.get();
        params.set_id(ID);
        params.set_agent_name("echo");
        fill(params.init_message(), "user", &load.text);
        let response = request.send().promise.await?;
        let content = response.get()?.get_message()?.get_content()?;
        tally.answer(content.to_str()?)?;
        tally.done(begun)?;
    }
    Ok(tally)
}
