//! Clients that outlive the runtimes in which they are used.

use std::time::Duration;

use crate::common::{RawPeer, ScriptedAgent, call, memory, shared, within};
use agentwire::{Endpoint, LocalAgent, Message, RemoteAgent, transport::Listener};
use tokio::runtime::{Builder, Runtime};

fn runtime(builder: &mut Builder) -> Runtime {
    builder.enable_all().build().unwrap()
}

#[test]
fn a_shared_connection_of_a_runtime_that_is_gone_is_not_used() {
    let serving = runtime(Builder::new_multi_thread().worker_threads(1));
    let server = serving
        .block_on(LocalAgent::serve(ScriptedAgent, memory("runtimes")))
        .unwrap();
    let remote = shared(server.endpoint()).build().unwrap();
    for text in ["in the first", "in the second"] {
        let calling = runtime(&mut Builder::new_current_thread());
        let reply = calling.block_on(async { within(remote.process(Message::user(text))).await });
        assert_eq!(reply.unwrap().text(), Some(text));
    }
}

#[test]
fn a_kept_connection_serves_a_later_runtime() {
    let serving = runtime(Builder::new_multi_thread().worker_threads(1));
    let server = serving
        .block_on(LocalAgent::serve(ScriptedAgent, memory("kept")))
        .unwrap();
    let remote = RemoteAgent::new(server.endpoint()).unwrap();
    // Often enough that calls of both runtimes wait for an answer.
    for text in ["first", "second"].repeat(20) {
        let calling = runtime(&mut Builder::new_current_thread());
        let reply = calling.block_on(async { within(remote.process(Message::user(text))).await });
        assert_eq!(reply.unwrap().text(), Some(text));
    }
    assert_eq!(remote.stats().reconnects, 0);
}

/// Calls a peer and leaves an idle connection to it.
async fn call_once(remote: &RemoteAgent, endpoint: &Endpoint) -> RawPeer {
    let mut listener = within(Listener::bind(endpoint)).await.unwrap();
    let called = call(remote, "x");
    let (mut peer, id) = RawPeer::asked(&mut listener).await;
    peer.answer(&id, "x").await;
    called.await.unwrap().unwrap();
    peer
}

#[test]
fn idle_connections_are_closed_in_a_later_runtime_as_in_the_first() {
    let endpoint = memory("later-runtime");
    let remote = RemoteAgent::new(&endpoint).unwrap();
    // The task that would close this connection ends with its runtime.
    runtime(&mut Builder::new_current_thread()).block_on(call_once(&remote, &endpoint));
    runtime(Builder::new_current_thread().start_paused(true)).block_on(async {
        let mut peer = call_once(&remote, &endpoint).await;
        peer.receive_end_within(Duration::from_secs(60)).await;
        assert_eq!(remote.stats().open, 0);
    });
}

#[test]
fn a_runtime_that_runs_only_during_its_calls_keeps_its_connections_to_itself() {
    let serving = runtime(Builder::new_multi_thread().worker_threads(1));
    for in_flight in [1, 8] {
        let server = serving
            .block_on(async { LocalAgent::serve(ScriptedAgent, "tcp://127.0.0.1:0").await })
            .unwrap();
        let remote = RemoteAgent::builder(server.endpoint())
            .max_in_flight_per_connection(in_flight)
            .build()
            .unwrap();
        let [first, second] = [(); 2].map(|()| runtime(&mut Builder::new_current_thread()));
        for _ in 0..3 {
            for calling in [&first, &second] {
                let called = async { within(remote.process(Message::user("x"))).await };
                assert_eq!(calling.block_on(called).unwrap().text(), Some("x"));
            }
        }
        // Each runtime has used its own connection again and again.
        assert_eq!((remote.stats().open, remote.stats().reconnects), (2, 0));
    }
}

#[test]
fn idle_connections_of_other_runtimes_make_room_at_the_limit() {
    let serving = runtime(Builder::new_multi_thread().worker_threads(1));
    for in_flight in [1, 8] {
        let server = serving
            .block_on(async { LocalAgent::serve(ScriptedAgent, "tcp://127.0.0.1:0").await })
            .unwrap();
        let remote = RemoteAgent::builder(server.endpoint())
            .max_connections(2)
            .max_in_flight_per_connection(in_flight)
            .build()
            .unwrap();
        let runtimes = [(); 5].map(|()| runtime(&mut Builder::new_current_thread()));
        for calling in &runtimes {
            let called = async { within(remote.process(Message::user("x"))).await };
            assert_eq!(calling.block_on(called).unwrap().text(), Some("x"));
            assert!(remote.stats().idle <= 2, "{:?}", remote.stats());
        }
    }
}
