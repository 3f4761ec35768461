//! How calls share connections of HTTP/2.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use agentwire::{
    Endpoint, LocalAgent, LocalAgentBuilder, Message, RemoteAgent, RemoteAgentBuilder, RetryPolicy,
    agent_fn,
};
use tokio::{net::TcpListener, sync::Semaphore, task::JoinHandle};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    common::{until, within},
    shared_connection::{
        silent_connections_serve_no_further_calls, unread_streams_do_not_stop_other_calls,
    },
};

/// A server of an agent that answers only when it is allowed to.
struct Gated {
    server: LocalAgent,
    started: Arc<AtomicUsize>,
    gate: Arc<Semaphore>,
}

impl Gated {
    async fn serve(scheme: &str) -> Self {
        Self::serve_with(scheme, |server| server).await
    }

    async fn serve_with(
        scheme: &str,
        configure: impl FnOnce(LocalAgentBuilder) -> LocalAgentBuilder,
    ) -> Self {
        let (started, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let (begin, answer) = (Arc::clone(&started), Arc::clone(&gate));
        let agent = agent_fn("gated", move |message: Message| {
            begin.fetch_add(1, SeqCst);
            let answer = Arc::clone(&answer);
            async move {
                answer.acquire().await.unwrap().forget();
                Ok(Message::agent(message.content))
            }
        });
        let builder = configure(LocalAgent::builder(agent));
        let server = builder.endpoint(format!("{scheme}://127.0.0.1:0")).serve();
        let server = within(server).await.unwrap();
        Self {
            server,
            started,
            gate,
        }
    }

    fn client(
        &self,
        configure: impl FnOnce(RemoteAgentBuilder) -> RemoteAgentBuilder,
    ) -> RemoteAgent {
        configure(RemoteAgent::builder(self.server.endpoint()))
            .build()
            .unwrap()
    }

    async fn until_started(&self, count: usize) {
        until("the calls are processed", || {
            self.started.load(SeqCst) == count
        })
        .await;
    }
}

fn calls(remote: &RemoteAgent, count: usize) -> Vec<JoinHandle<()>> {
    let call = |number| {
        let remote = remote.clone();
        tokio::spawn(async move {
            let reply = remote.process(Message::user(number)).await.unwrap();
            assert_eq!(reply.content, number);
        })
    };
    (0..count).map(call).collect()
}

async fn finish(calls: Vec<JoinHandle<()>>) {
    for call in calls {
        within(call).await.unwrap();
    }
}

#[tokio::test]
async fn calls_of_http2_share_the_only_connection() {
    let gated = Gated::serve("h2c").await;
    let remote = gated.client(|builder| builder.max_connections(1));
    let calls = calls(&remote, 64);
    gated.until_started(64).await;
    assert_eq!(remote.stats().open, 1);
    gated.gate.add_permits(64);
    finish(calls).await;
}

#[tokio::test]
async fn a_full_connection_of_http2_makes_room_for_another_one_and_then_calls_wait() {
    let gated = Gated::serve("h2c").await;
    let remote = gated.client(|builder| builder.max_connections(2).max_in_flight_per_connection(3));
    let calls = calls(&remote, 8);
    gated.until_started(6).await;
    until("two calls wait", || remote.stats().waiting == 2).await;
    assert_eq!(remote.stats().open, 2);
    assert_eq!(gated.started.load(SeqCst), 6);
    gated.gate.add_permits(8);
    finish(calls).await;
    assert_eq!(remote.stats().open, 2);
}

#[tokio::test]
async fn calls_beyond_what_the_server_allows_open_another_connection() {
    let gated = Gated::serve_with("h2c", |server| server.max_in_flight_per_connection(2)).await;
    let remote = gated.client(|builder| builder);
    // With its first answer, the client knows the settings of the server.
    gated.gate.add_permits(1);
    finish(calls(&remote, 1)).await;
    let calls = calls(&remote, 6);
    gated.until_started(1 + 6).await;
    assert_eq!(remote.stats().open, 3);
    gated.gate.add_permits(6);
    finish(calls).await;
}

#[tokio::test]
async fn calls_of_http1_have_a_connection_each_whatever_may_be_shared() {
    let gated = Gated::serve("http").await;
    let remote = gated.client(|builder| builder.max_connections(2).max_in_flight_per_connection(8));
    let calls = calls(&remote, 5);
    until("three calls wait", || remote.stats().waiting == 3).await;
    gated.until_started(2).await;
    assert_eq!(remote.stats().open, 2);
    gated.gate.add_permits(5);
    finish(calls).await;
}

#[tokio::test]
async fn an_idle_connection_of_http2_is_closed_after_the_idle_timeout() {
    let gated = Gated::serve("h2c").await;
    let remote = gated.client(|builder| builder.idle_timeout(Duration::from_millis(20)));
    for _ in 0..2 {
        gated.gate.add_permits(1);
        finish(calls(&remote, 1)).await;
        until("the connection is closed", || remote.stats().open == 0).await;
    }
}

#[tokio::test]
async fn a_connection_of_http2_serves_one_call_if_none_may_be_idle() {
    let gated = Gated::serve("h2c").await;
    let remote = gated.client(|builder| builder.idle_timeout(Duration::ZERO).max_connections(3));
    let calls = calls(&remote, 5);
    gated.until_started(3).await;
    until("two calls wait", || remote.stats().waiting == 2).await;
    assert_eq!(remote.stats().open, 3);
    gated.gate.add_permits(5);
    finish(calls).await;
    until("all connections are closed", || remote.stats().open == 0).await;
}

/// The answer to any request.
const DONE: &str = r#"{"version": "1.0", "type": "response", "id": "1", "payload": {"message": {"role": "agent", "content": "done"}}}"#;

/// Answers the first request of each connection, and refuses the others.
async fn answer_one_request_per_connection(listener: TcpListener) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            let mut has_answered = false;
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                if has_answered {
                    respond.send_reset(h2::Reason::REFUSED_STREAM);
                    continue;
                }
                has_answered = true;
                drop(request);
                let mut stream = respond
                    .send_response(http::Response::new(()), false)
                    .unwrap();
                stream.send_data(DONE.into(), true).unwrap();
            }
        });
    }
}

#[tokio::test]
async fn a_request_that_a_connection_refuses_is_sent_on_another_one() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("h2c://{}", listener.local_addr().unwrap());
    let endpoint: Endpoint = url.parse().unwrap();
    let _server = AbortOnDropHandle::new(tokio::spawn(answer_one_request_per_connection(listener)));
    let remote = RemoteAgent::builder(&endpoint)
        .retry(RetryPolicy::never())
        .build()
        .unwrap();
    for _ in 0..3 {
        let reply = within(remote.process(Message::user("x"))).await.unwrap();
        assert_eq!(reply.text(), Some("done"));
    }
    assert_eq!(remote.stats().reconnects, 2);
}

/// Answers the requests of one connection, apart from the first one, whose stream fails.
async fn fail_the_first_request(listener: TcpListener) {
    let (stream, _) = listener.accept().await.unwrap();
    let mut connection = h2::server::handshake(stream).await.unwrap();
    let mut has_failed = false;
    while let Some(Ok((_, mut respond))) = connection.accept().await {
        if has_failed {
            let head = http::Response::new(());
            let mut stream = respond.send_response(head, false).unwrap();
            stream.send_data(DONE.into(), true).unwrap();
        } else {
            has_failed = true;
            respond.send_reset(h2::Reason::INTERNAL_ERROR);
        }
    }
}

#[tokio::test]
async fn a_stream_that_fails_leaves_its_connection_to_other_calls() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("h2c://{}", listener.local_addr().unwrap());
    let endpoint: Endpoint = url.parse().unwrap();
    let _server = AbortOnDropHandle::new(tokio::spawn(fail_the_first_request(listener)));
    let builder = RemoteAgent::builder(&endpoint).retry(RetryPolicy::never());
    let remote = builder.build().unwrap();
    let failed = within(remote.process(Message::user("x"))).await;
    failed.unwrap_err();
    let reply = within(remote.process(Message::user("x"))).await.unwrap();
    assert_eq!(reply.text(), Some("done"));
    assert_eq!(remote.stats().reconnects, 0);
}

#[tokio::test]
async fn streams_that_are_not_read_do_not_stop_other_calls() {
    unread_streams_do_not_stop_other_calls("h2c://127.0.0.1:0").await;
}

/// Accepts connections, and answers only the first request of each.
async fn fall_silent_after_one_answer(listener: TcpListener) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            let (request, mut respond) = connection.accept().await.unwrap().unwrap();
            drop(request);
            let mut stream = respond
                .send_response(http::Response::new(()), false)
                .unwrap();
            stream.send_data(DONE.into(), true).unwrap();
            // The second request is taken, so that the first answer was sent. Then the connection is
            // kept, but not driven any more.
            let second = connection.accept().await;
            std::future::pending::<()>().await;
            drop((second, connection));
        });
    }
}

#[tokio::test]
async fn a_connection_that_is_silent_for_a_whole_call_serves_no_further_calls() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("h2c://{}", listener.local_addr().unwrap());
    let endpoint: Endpoint = url.parse().unwrap();
    let _server = AbortOnDropHandle::new(tokio::spawn(fall_silent_after_one_answer(listener)));
    let builder = RemoteAgent::builder(&endpoint).retry(RetryPolicy::never());
    let remote = builder.build().unwrap();
    silent_connections_serve_no_further_calls(&remote).await;
}
