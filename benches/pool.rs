//! Makes whole calls within one process, over memory: the cost of the client's pool, its shared
//! connections and the server, without sockets and a second process.

#![allow(
    missing_docs,
    reason = "criterion's macros generate undocumented functions"
)]
#![allow(
    clippy::expect_used,
    reason = "an unexpected result ends the benchmark"
)]

use agentwire::{LocalAgent, Message, RemoteAgent, agent_fn};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures_util::future::join_all;
use tokio::runtime::{Builder, Runtime};

fn pool(criterion: &mut Criterion) {
    // One thread, to measure work rather than wake-ups.
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let echo = agent_fn("echo", |message: Message| async move {
        Ok(Message::agent(message.content))
    });
    let server = runtime.block_on(LocalAgent::serve(echo, "memory://pool"));
    let server = server.expect("a free name");

    for in_flight in IN_FLIGHT {
        let own = RemoteAgent::builder(server.endpoint()).max_connections(in_flight);
        let shared = RemoteAgent::builder(server.endpoint())
            .max_connections(1)
            .max_in_flight_per_connection(64);
        let mut group = criterion.benchmark_group(format!("pool/{in_flight}_in_flight"));
        group.throughput(Throughput::Elements(in_flight as u64));
        for (name, builder) in [("own_connections", own), ("shared_connection", shared)] {
            let remote = builder.build().expect("valid settings");
            group.bench_function(name, |bencher| {
                bencher.iter(|| call(&runtime, &remote, in_flight));
            });
            runtime.block_on(remote.close());
        }
        group.finish();
    }
    runtime.block_on(server.stop());
}

fn call(runtime: &Runtime, remote: &RemoteAgent, in_flight: usize) {
    let call = || remote.process(Message::user("What is the weather in San Francisco?"));
    runtime.block_on(async {
        for reply in join_all((0..in_flight).map(|_| call())).await {
            reply.expect("the echo");
        }
    });
}

/// How many calls are in flight at a time.
const IN_FLIGHT: [usize; 2] = [1, 64];

criterion_group!(benches, pool);
criterion_main!(benches);
