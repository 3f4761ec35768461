//! Stopping and aborting a server, which both leave nothing behind.

use std::{sync::Arc, time::Duration};

use crate::common::{RawPeer, ScriptedAgent, memory, process_frame, until, within};
use agentwire::{Endpoint, LocalAgent, Message, RemoteAgent, RetryPolicy, agent_fn};
use tokio::{sync::Semaphore, time::Instant};

#[tokio::test]
async fn stop_answers_what_is_in_flight_and_refuses_what_is_new() {
    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().join("agent.sock");
    let endpoint = Endpoint::unix(&path).unwrap();
    let (entered, leave) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let agent = {
        let (entered, leave) = (Arc::clone(&entered), Arc::clone(&leave));
        agent_fn("gate", move |message: Message| {
            let (entered, leave) = (Arc::clone(&entered), Arc::clone(&leave));
            async move {
                entered.add_permits(1);
                leave.acquire().await?.forget();
                Ok(message)
            }
        })
    };
    let server = Arc::new(within(LocalAgent::serve(agent, &endpoint)).await.unwrap());
    let remote = RemoteAgent::new(&endpoint).unwrap();
    let call = tokio::spawn({
        let remote = remote.clone();
        async move { within(remote.process(Message::user("in flight"))).await }
    });
    within(entered.acquire()).await.unwrap().forget();

    let stop = tokio::spawn({
        let server = Arc::clone(&server);
        async move { within(server.stop()).await }
    });
    until("the listener is closed", || !path.exists()).await;
    let newcomer = RemoteAgent::builder(&endpoint).retry(RetryPolicy::never());
    let newcomer = newcomer.build().unwrap();
    let error = within(newcomer.process(Message::user("new"))).await;
    assert!(error.unwrap_err().is_connect());
    assert!(!stop.is_finished(), "stop waits for requests in flight");

    leave.add_permits(1);
    assert_eq!(
        within(call).await.unwrap().unwrap().text(),
        Some("in flight")
    );
    within(stop).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn stop_drops_what_is_still_in_flight_after_the_shutdown_timeout() {
    let endpoint = memory("grace");
    let builder = LocalAgent::builder(ScriptedAgent).shutdown_timeout(Duration::from_secs(5));
    let server = within(builder.endpoint(&endpoint).serve()).await.unwrap();
    let mut peer = RawPeer::connect(&endpoint).await;
    let hang = Message::user("x").with_metadata("do", "hang");
    peer.send(&process_frame("7", hang)).await;
    // Once this request is answered, the one before it is in flight.
    peer.send(&process_frame("8", Message::user("x"))).await;
    peer.receive().await;
    let before = Instant::now();
    within(server.stop()).await;
    assert_eq!(before.elapsed().as_secs(), 5);
    peer.receive_end().await;
}

#[tokio::test]
async fn stop_closes_idle_connections() {
    let endpoint = memory("idle-stop");
    let server = within(LocalAgent::serve(ScriptedAgent, &endpoint))
        .await
        .unwrap();
    let mut peer = RawPeer::connect(&endpoint).await;
    // The answer shows that the connection has left the accept queue.
    peer.send(&process_frame("7", Message::user("x"))).await;
    peer.receive().await;
    let (stopped, ()) = tokio::join!(within(server.stop()), async {
        peer.receive_end().await;
        drop(peer);
    });
    stopped
}

#[tokio::test]
async fn abort_and_drop_end_everything_at_once() {
    for drop_it in [false, true] {
        let endpoint = memory("abort");
        let server = within(LocalAgent::serve(ScriptedAgent, &endpoint))
            .await
            .unwrap();
        let mut peer = RawPeer::connect(&endpoint).await;
        let hang = Message::user("x").with_metadata("do", "hang");
        peer.send(&process_frame("7", hang)).await;
        if drop_it {
            drop(server);
        } else {
            within(server.abort()).await;
        }
        peer.receive_end().await;
        // The name is free as soon as the accepting task has ended.
        within(async {
            while LocalAgent::serve(ScriptedAgent, &endpoint).await.is_err() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

#[tokio::test]
async fn a_client_survives_the_restart_of_its_server() {
    let directory = tempfile::TempDir::new().unwrap();
    let unix = Endpoint::unix(directory.path().join("agent.sock")).unwrap();
    for endpoint in [
        unix,
        memory("restart"),
        "tcp://127.0.0.1:0".parse().unwrap(),
    ] {
        let mut server = within(LocalAgent::serve(ScriptedAgent, &endpoint))
            .await
            .unwrap();
        let endpoint = server.endpoint().clone();
        let remote = RemoteAgent::new(&endpoint).unwrap();
        for i in 0..3 {
            let reply = within(remote.process(Message::user(i))).await.unwrap();
            assert_eq!(reply.content.as_i64(), Some(i));
            within(server.abort()).await;
            let impatient = RemoteAgent::builder(&endpoint).retry(RetryPolicy::never());
            let impatient = impatient.build().unwrap();
            let refused = impatient.process(Message::user("x"));
            assert!(within(refused).await.unwrap_err().is_connect());
            let call = remote.clone();
            let call = tokio::spawn(async move { call.process(Message::user(i)).await });
            server = within(LocalAgent::serve(ScriptedAgent, &endpoint))
                .await
                .unwrap();
            let reply = within(call).await.unwrap().unwrap();
            assert_eq!(reply.content.as_i64(), Some(i));
        }
    }
}
