//! Events that seldom meet, each of which once went wrong.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod common;

use agentwire::{
    transport::{self, BoxFuture, Connection, Connector, Listener},
    *,
};
use agentwire_codec::{Body, Envelope, ErrorCode, WireError};
use common::*;
use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

fn mux(endpoint: &Endpoint, conns: usize) -> RemoteAgentBuilder {
    RemoteAgent::builder(endpoint.clone())
        .max_connections(conns)
        .max_in_flight_per_connection(8)
        .retry(RetryPolicy::never())
}
fn call(r: &RemoteAgent, task: &str) -> tokio::task::JoinHandle<Result<Message, Error>> {
    let r = r.clone();
    let task = task.to_owned();
    tokio::spawn(async move { r.process(Message::user(task)).await })
}

#[tokio::test]
async fn zero_backoff_lets_others_run() {
    let remote = RemoteAgent::builder(memory("nobody"))
        .timeout(Duration::from_secs(2))
        .retry(RetryPolicy::new().backoff(Duration::ZERO, Duration::from_millis(100)))
        .build()
        .unwrap();
    let start = std::time::Instant::now();
    let _ = tokio::time::timeout(
        Duration::from_millis(50),
        remote.process(Message::user("x")),
    )
    .await;
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "blocked its thread for {:?}",
        start.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn resent_call_that_ends_in_connect_failure_is_not_unsent() {
    let endpoint = memory("r");
    let mut listener = Listener::bind(&endpoint).await.unwrap();
    let remote = RemoteAgent::builder(endpoint)
        .timeout(Duration::from_secs(2))
        .retry(RetryPolicy::new().resend(3))
        .build()
        .unwrap();
    let running = call(&remote, "x");
    let mut peer = RawPeer::accept(&mut listener).await;
    peer.receive().await; // the agent has seen it
    drop(listener);
    drop(peer);
    let error = running.await.unwrap().unwrap_err();
    assert!(!error.is_unsent(), "{error:?}");
}
#[tokio::test(start_paused = true)]
async fn resent_call_that_meets_close_is_not_unsent() {
    let endpoint = memory("r");
    let mut listener = Listener::bind(&endpoint).await.unwrap();
    let remote = RemoteAgent::builder(endpoint)
        .retry(RetryPolicy::new().resend(3))
        .build()
        .unwrap();
    let running = call(&remote, "x");
    let mut peer = RawPeer::accept(&mut listener).await;
    peer.receive().await;
    drop(peer);
    tokio::join!(remote.close(), async {});
    let error = running.await.unwrap().unwrap_err();
    assert!(!error.is_unsent(), "{error:?}");
}
#[tokio::test]
async fn started_stream_that_meets_close_is_not_unsent() {
    let endpoint = memory("r");
    let mut listener = Listener::bind(&endpoint).await.unwrap();
    let remote = RemoteAgent::new(endpoint).unwrap();
    let mut s = remote.stream(Message::user("x"));
    let (first, _peer) = tokio::join!(within(s.next()), async {
        let mut peer = RawPeer::accept(&mut listener).await;
        let id = peer.receive().await.id;
        peer.send(&frame(&Envelope::new(
            id,
            Body::StreamChunk(Message::agent("1")),
        )))
        .await;
        peer
    });
    first.unwrap().unwrap();
    remote.close().await;
    let error = within(s.next()).await.unwrap().unwrap_err();
    assert!(!error.is_unsent(), "{error:?}");
}
#[tokio::test]
async fn streams_end_after_close_even_if_fast() {
    let server = LocalAgent::serve(Puppet, memory("fast")).await.unwrap();
    let remote = RemoteAgent::new(server.endpoint()).unwrap();
    let mut s = remote.stream(Message::user("x").with_metadata("count", 100_000));
    within(s.next()).await.unwrap().unwrap();
    remote.close().await;
    let mut n = 0;
    while let Some(Ok(_)) = within(s.next()).await {
        n += 1;
    }
    assert_eq!(n, 0, "chunks after close");
}
#[tokio::test(start_paused = true)]
async fn a_stream_waiting_for_first_chunk_ends_on_close() {
    let endpoint = memory("r");
    let mut listener = Listener::bind(&endpoint).await.unwrap();
    let remote = RemoteAgent::new(endpoint).unwrap();
    let mut s = remote.stream(Message::user("x"));
    let task = tokio::spawn(async move { s.next().await });
    let mut peer = RawPeer::accept(&mut listener).await;
    peer.receive().await;
    remote.close().await;
    let start = tokio::time::Instant::now();
    let r = task.await.unwrap();
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?} {:?}",
        start.elapsed(),
        r
    );
}
#[tokio::test(start_paused = true)]
async fn total_timeout_holds_however_fast_the_chunks() {
    let server = LocalAgent::serve(Puppet, memory("fast")).await.unwrap();
    let remote = RemoteAgent::new(server.endpoint()).unwrap();
    let mut s = remote.stream_with(
        Message::user("x").with_metadata("count", 1_000_000),
        &CallOptions::new().total_timeout(Duration::from_secs(1)),
    );
    let start = tokio::time::Instant::now();
    let mut n = 0;
    while let Some(Ok(_)) = s.next().await {
        n += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "still going after {:?}, {n} chunks",
            start.elapsed()
        );
    }
}
#[tokio::test(start_paused = true)]
async fn total_timeout_names_its_duration() {
    let endpoint = memory("r");
    let _l = Listener::bind(&endpoint).await.unwrap();
    let remote = RemoteAgent::new(endpoint).unwrap();
    let mut s = remote.stream_with(
        Message::user("x"),
        &CallOptions::new().total_timeout(Duration::from_secs(1)),
    );
    let Some(Err(Error::Timeout { timeout, .. })) = s.next().await else {
        panic!()
    };
    assert_eq!(timeout, Duration::from_secs(1));
}
struct Make<F>(Endpoint, F);
impl<F> std::fmt::Debug for Make<F> {
    fn fmt(&self, _f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Ok(())
    }
}
impl<F: Fn() -> Connection + Send + Sync + 'static> Connector for Make<F> {
    fn endpoint(&self) -> &Endpoint {
        &self.0
    }
    fn connect(&self) -> BoxFuture<'_, Result<Connection, transport::Error>> {
        let running = (self.1)();
        Box::pin(async move { Ok(running) })
    }
}
#[tokio::test(start_paused = true)]
async fn a_flush_that_is_pending_is_taken_up_again() {
    let (far_tx, mut far_rx) = tokio::sync::mpsc::unbounded_channel();
    let make = Make(Endpoint::custom("buffered"), move || {
        let (near, far) = tokio::io::duplex(1024);
        far_tx.send(Connection::custom(far, "far")).unwrap();
        Connection::custom(
            tokio::io::BufStream::with_capacity(8192, 256 * 1024, near),
            "near",
        )
    });
    let remote = RemoteAgent::builder("memory://unused")
        .connector(make)
        .timeout(Duration::from_secs(5))
        .build()
        .unwrap();
    let running = call(&remote, &"x".repeat(50_000));
    let mut peer = RawPeer {
        connection: far_rx.recv().await.unwrap(),
    };
    let _server = tokio::spawn(async move {
        let len = tokio::io::AsyncReadExt::read_u32(&mut peer.connection)
            .await
            .unwrap();
        let mut payload = vec![0; len as usize];
        let mut have = 0;
        while have < payload.len() {
            let n = tokio::io::AsyncReadExt::read(&mut peer.connection, &mut payload[have..])
                .await
                .unwrap();
            if n == 0 {
                panic!("end after {have} of {len}");
            }
            have += n;
        }
        let id = Format::Json.decode(&payload).unwrap().id;
        peer.answer(&id, "ok").await;
        peer
    });
    let r = running.await.unwrap();
    assert!(
        r.is_ok(),
        "{:?}",
        r.map_err(|endpoint| endpoint.to_string())
    );
}
#[tokio::test(start_paused = true)]
async fn the_refusal_of_a_call_given_up_reaches_no_other() {
    let builder = LocalAgent::builder(Puppet).frame_limits(FrameLimits::default().receive(100_000));
    let server = builder.serve(memory("r")).await.unwrap();
    let remote = mux(server.endpoint(), 1).build().unwrap();
    let r = remote.clone();
    let a = tokio::spawn(async move {
        r.process(Message::user("A").with_metadata("do", "slow"))
            .await
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    {
        let b = remote.process(Message::user("B".repeat(200_000)));
        assert!(tokio::time::timeout(Duration::ZERO, b).await.is_err());
    }
    let a = a.await.unwrap();
    assert_eq!(
        a.map_err(|endpoint| endpoint.to_string()).unwrap().text(),
        Some("A")
    );
}
#[tokio::test]
async fn an_answer_that_has_come_is_not_lost_to_a_failed_write() {
    let endpoint = memory("r");
    let mut listener = Listener::bind(&endpoint).await.unwrap();
    let remote = mux(&endpoint, 1).build().unwrap();
    let a = call(&remote, "A");
    let mut peer = RawPeer::accept(&mut listener).await;
    let id = peer.receive().await.id;
    // The server answers and closes, as in a graceful stop. Meanwhile B is called.
    peer.answer(&id, "A's").await;
    drop(peer);
    let mut b = Box::pin(remote.process(Message::user("B")));
    let _ = futures_util::poll!(&mut b);
    let a = within(a).await.unwrap();
    assert_eq!(
        a.map_err(|endpoint| endpoint.to_string()).unwrap().text(),
        Some("A's")
    );
}
#[tokio::test(start_paused = true)]
async fn shared_connection_is_closed_when_idle_after_a_call_was_given_up() {
    let endpoint = memory("r");
    let mut listener = Listener::bind(&endpoint).await.unwrap();
    let remote = mux(&endpoint, 1).build().unwrap();
    let a = call(&remote, "A");
    let mut peer = RawPeer::accept(&mut listener).await;
    peer.receive().await;
    a.abort();
    let _ = a.await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(remote.stats().open, 0, "{:?}", remote.stats());
}
#[tokio::test(start_paused = true)]
async fn close_closes_shared_connections_as_they_become_free() {
    let endpoint = memory("r");
    let mut listener = Listener::bind(&endpoint).await.unwrap();
    let remote = mux(&endpoint, 2).build().unwrap();
    let a = call(&remote, "A");
    let mut pa = RawPeer::accept(&mut listener).await;
    let ida = pa.receive().await.id;
    let b = call(&remote, "B");
    let mut pb = RawPeer::accept(&mut listener).await;
    pb.receive().await;
    pa.answer(&ida, "x").await;
    a.await.unwrap().unwrap();
    assert_eq!(remote.stats().idle, 1);
    assert!(
        tokio::time::timeout(Duration::from_secs(1), remote.close())
            .await
            .is_err()
    );
    let open_during = remote.stats().open;
    let _ = b.await; // times out
    tokio::time::sleep(Duration::from_secs(1)).await;
    let after = remote.stats();
    assert_eq!((open_during, after.open), (1, 0));
}
#[test]
fn shared_connection_of_a_runtime_that_is_gone_is_not_used() {
    let rt = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    let srv = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let server = srv
        .block_on(LocalAgent::serve(Puppet, memory("rt")))
        .unwrap();
    let remote = mux(server.endpoint(), 1)
        .timeout(Duration::from_secs(3))
        .build()
        .unwrap();
    let one = rt();
    one.block_on(remote.process(Message::user("1"))).unwrap();
    drop(one);
    let r = rt().block_on(remote.process(Message::user("2")));
    assert!(r.is_ok(), "{}; {:?}", r.unwrap_err(), remote.stats());
}
struct PanicRead(tokio::io::DuplexStream);
impl AsyncRead for PanicRead {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        b: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let r = Pin::new(&mut self.0).poll_read(cx, b);
        if r.is_ready() {
            panic!("carrier panics")
        }
        r
    }
}
impl AsyncWrite for PanicRead {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        b: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, b)
    }
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
#[tokio::test(start_paused = true)]
async fn a_panic_of_the_carrier_fails_its_calls_at_once() {
    let (far_tx, mut far_rx) = tokio::sync::mpsc::unbounded_channel();
    let make = Make(Endpoint::custom("panics"), move || {
        let (near, far) = tokio::io::duplex(1024);
        far_tx.send(Connection::custom(far, "far")).unwrap();
        Connection::custom(PanicRead(near), "near")
    });
    let remote = RemoteAgent::builder("memory://unused")
        .connector(make)
        .max_connections(1)
        .max_in_flight_per_connection(2)
        .build()
        .unwrap();
    let running = call(&remote, "x");
    let mut peer = RawPeer {
        connection: far_rx.recv().await.unwrap(),
    };
    let id = peer.receive().await.id;
    peer.answer(&id, "ok").await;
    let start = tokio::time::Instant::now();
    let r = running.await.unwrap();
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?} {:?}",
        start.elapsed(),
        r.map_err(|endpoint| endpoint.to_string())
    );
}
#[tokio::test]
async fn a_connection_lost_in_a_stream_is_counted() {
    let endpoint = memory("r");
    let mut listener = Listener::bind(&endpoint).await.unwrap();
    let remote = RemoteAgent::new(endpoint).unwrap();
    let mut s = remote.stream(Message::user("x"));
    let (first, peer) = tokio::join!(within(s.next()), async {
        let mut peer = RawPeer::accept(&mut listener).await;
        let id = peer.receive().await.id;
        peer.send(&frame(&Envelope::new(
            id,
            Body::StreamChunk(Message::agent("1")),
        )))
        .await;
        peer
    });
    first.unwrap().unwrap();
    drop(peer);
    assert!(within(s.next()).await.unwrap().unwrap_err().is_closed());
    let running = call(&remote, "A");
    let mut peer = RawPeer::accept(&mut listener).await;
    let id = peer.receive().await.id;
    peer.answer(&id, "x").await;
    running.await.unwrap().unwrap();
    assert_eq!(remote.stats().reconnects, 1);
}
#[test]
fn idle_connections_are_reaped_in_a_second_runtime() {
    let rt = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap()
    };
    let endpoint = memory("rt");
    let e2 = endpoint.clone();
    let remote = RemoteAgent::new(endpoint).unwrap();
    for i in 0..2 {
        let (remote, endpoint) = (remote.clone(), e2.clone());
        rt().block_on(async move {
            let mut listener = Listener::bind(&endpoint).await.unwrap();
            let running = call(&remote, "A");
            let mut peer = RawPeer::accept(&mut listener).await;
            let id = peer.receive().await.id;
            peer.answer(&id, "x").await;
            running.await.unwrap().unwrap();
            if i == 1 {
                tokio::time::sleep(Duration::from_secs(300)).await;
                assert_eq!(remote.stats().open, 0, "{:?}", remote.stats());
            }
        });
    }
}
#[tokio::test]
async fn a_stream_that_ended_in_an_unexpected_answer_holds_no_connection() {
    let endpoint = memory("r");
    let mut listener = Listener::bind(&endpoint).await.unwrap();
    let remote = RemoteAgent::new(endpoint).unwrap();
    let mut s = remote.stream(Message::user("x"));
    let (first, _peer) = tokio::join!(within(s.next()), async {
        let mut peer = RawPeer::accept(&mut listener).await;
        let id = peer.receive().await.id;
        peer.answer(&id, "no chunk").await;
        peer
    });
    first.unwrap().unwrap_err();
    assert_eq!(remote.stats().open, 0);
}
#[tokio::test(start_paused = true)]
async fn a_stream_that_waits_to_be_sent_again_holds_no_connection() {
    let endpoint = memory("r");
    let mut listener = Listener::bind(&endpoint).await.unwrap();
    let d = Duration::from_secs(20);
    let remote = RemoteAgent::builder(endpoint)
        .max_connections(1)
        .retry(RetryPolicy::new().resend(1).backoff(d, d))
        .build()
        .unwrap();
    let r = remote.clone();
    let _s = tokio::spawn(async move {
        let mut s = r.stream(Message::user("x"));
        s.next().await
    });
    let mut peer = RawPeer::accept(&mut listener).await;
    let id = peer.receive().await.id;
    peer.send(&frame(&Envelope::new(
        id,
        WireError::new(ErrorCode::AGENT_UNAVAILABLE, "later"),
    )))
    .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let st = remote.stats();
    assert_eq!((st.open, st.idle), (1, 1));
}
#[tokio::test(start_paused = true)]
async fn an_oversize_answer_is_no_reason_to_send_again() {
    let runs = Arc::new(AtomicUsize::new(0));
    let r2 = Arc::clone(&runs);
    let agent = agent_fn("big", move |_m: Message| {
        r2.fetch_add(1, SeqCst);
        async move { Ok(Message::agent("x".repeat(5000))) }
    });
    let server = LocalAgent::serve(agent, memory("r")).await.unwrap();
    let remote = RemoteAgent::builder(server.endpoint())
        .frame_limits(FrameLimits::default().receive(1000))
        .retry(RetryPolicy::new().resend(3))
        .build()
        .unwrap();
    let endpoint = remote.process(Message::user("x")).await.unwrap_err();
    assert!(endpoint.is_protocol());
    assert_eq!(runs.load(SeqCst), 1);
}
#[tokio::test(start_paused = true)]
async fn ping_of_a_server_that_says_unavailable_is_ok() {
    let endpoint = memory("r");
    let mut listener = Listener::bind(&endpoint).await.unwrap();
    let remote = RemoteAgent::builder(endpoint)
        .timeout(Duration::from_secs(3))
        .retry(RetryPolicy::new().resend(1))
        .build()
        .unwrap();
    let r = remote.clone();
    let p = tokio::spawn(async move { r.ping().await });
    let mut peer = RawPeer::accept(&mut listener).await;
    let id = peer.receive().await.id;
    peer.send(&frame(&Envelope::new(
        id,
        WireError::new(ErrorCode::AGENT_UNAVAILABLE, "later"),
    )))
    .await;
    let r = p.await.unwrap();
    assert!(
        r.is_ok(),
        "{:?}",
        r.map_err(|endpoint| endpoint.to_string())
    );
}

#[tokio::test(start_paused = true)]
async fn calls_given_up_on_a_stuck_peer_do_not_block_for_ever() {
    let endpoint = memory("stuck");
    let mut listener = Listener::bind(&endpoint).await.unwrap();
    let remote = RemoteAgent::builder(endpoint)
        .max_connections(1)
        .max_in_flight_per_connection(4)
        .timeout(Duration::from_secs(300))
        .retry(RetryPolicy::never())
        .build()
        .unwrap();
    let large = "x".repeat(256 * 1024);
    let mut peers = vec![];
    for _ in 0..10 {
        let _ = tokio::time::timeout(
            Duration::from_secs(1),
            remote.process(Message::user(large.as_str())),
        )
        .await;
        while let Ok(Ok(running)) = tokio::time::timeout(Duration::ZERO, listener.accept()).await {
            peers.push(running);
        }
    }
    tokio::time::sleep(Duration::from_secs(600)).await;
    // now a good peer
    let r = remote.clone();
    let _running = tokio::spawn(async move { r.process(Message::user("x")).await });
    let acc = tokio::time::timeout(Duration::from_secs(100), listener.accept()).await;
    assert!(
        acc.is_ok(),
        "the client never connects again: {:?}",
        remote.stats()
    );
}

struct Bomb;
impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("in drop")
        }
    }
}
#[tokio::test(start_paused = true)]
async fn a_panic_in_the_drop_of_timed_out_work_is_an_answer() {
    let agent = agent_fn("bomb", |m: Message| async move {
        let _b = Bomb;
        std::future::pending::<()>().await;
        Ok(m)
    });
    let server = LocalAgent::builder(agent)
        .handler_timeout(Duration::from_secs(1))
        .serve(memory("b"))
        .await
        .unwrap();
    let remote = RemoteAgent::new(server.endpoint()).unwrap();
    let error = remote.process(Message::user("x")).await.unwrap_err();
    assert!(error.is_timeout() || error.is_remote(), "{error}");
}
