//! The header `grpc-timeout`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use agentwire::{AgentError, LocalAgent, Message, RequestContext, agent_fn, stream_fn};
use agentwire_proto::{Response, StreamChunk};
use futures_util::stream;

use crate::{
    client_builder,
    common::{until, within},
    raw::{Answer, PROCESS, RawClient, STREAM, framed, request, unframed},
    serve_with,
};

/// An agent that answers with the time that is left for it in milliseconds, or with null.
fn clock() -> impl agentwire::Agent {
    agent_fn("echo", |_: Message, context: RequestContext| async move {
        let left = context.remaining().map(|left| left.as_millis());
        let left = left.map(|left| u64::try_from(left).unwrap());
        Ok::<_, AgentError>(Message::agent(left))
    })
}

async fn ask(raw: &mut RawClient, headers: &[(&'static str, &str)]) -> Answer {
    let answer = raw.exchange(PROCESS, headers, framed(&request("x"))).await;
    answer.unwrap()
}

#[tokio::test]
async fn the_agent_learns_the_deadline_of_its_call() {
    let server = serve_with(LocalAgent::builder(clock())).await;
    let mut raw = RawClient::connect(server.endpoint()).await;
    for (header, most) in [
        ("100S", Some(100_000)),
        ("2H", Some(7_200_000)),
        ("99999999u", Some(100_000)),
        // Other texts are ignored.
        ("soon", None),
        ("100", None),
    ] {
        let answer = ask(&mut raw, &[("grpc-timeout", header)]).await;
        let response = unframed::<Response>(&answer.body).remove(0);
        let content = response.message.unwrap().content;
        match most {
            Some(most) => {
                let left: u64 = content.parse().unwrap();
                assert!(left <= most && left > most / 2, "{header}: {left}");
            }
            None => assert_eq!(content, "null", "{header}"),
        }
    }
}

#[tokio::test]
async fn the_client_sends_its_timeout() {
    let server = serve_with(LocalAgent::builder(clock())).await;
    let remote = client_builder(server.endpoint(), "echo");
    let remote = remote.timeout(Duration::from_secs(600)).build().unwrap();
    let reply = within(remote.process(Message::user("x"))).await.unwrap();
    let left = reply.content.as_u64().unwrap();
    assert!(left <= 600_000 && left > 300_000, "{left}");
}

#[tokio::test]
async fn a_call_that_takes_longer_ends_with_its_status_and_its_handler() {
    let (started, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (begun, counted) = (Arc::clone(&started), Arc::clone(&ended));
    let slow = agent_fn("echo", move |_: Message| {
        begun.fetch_add(1, SeqCst);
        let guard = OnDrop(Arc::clone(&counted));
        async move {
            let _guard = guard;
            std::future::pending::<()>().await;
            Ok(Message::agent("never"))
        }
    });
    let server = serve_with(LocalAgent::builder(slow)).await;
    let mut raw = RawClient::connect(server.endpoint()).await;
    // On a slow machine, the first deadlines may pass before the request is read.
    for header in ["1n", "30m", "1S", "15S"] {
        let answer = ask(&mut raw, &[("grpc-timeout", header)]).await;
        assert!(answer.body.is_empty(), "{answer:?}");
        let (code, text) = answer.status.unwrap();
        let passed = "the deadline of the caller has passed";
        assert_eq!((&*code, &*text), ("4", passed));
        if started.load(SeqCst) > 0 {
            break;
        }
    }
    assert!(started.load(SeqCst) > 0, "no handler has started");
    until("the handlers are dropped", || {
        ended.load(SeqCst) == started.load(SeqCst)
    })
    .await;
}

#[tokio::test]
async fn a_stream_that_takes_longer_ends_after_its_chunks() {
    let endless = stream_fn("echo", |_: Message| {
        let first = stream::iter([Ok(Message::agent("first"))]);
        futures_util::StreamExt::chain(first, stream::pending())
    });
    let server = serve_with(LocalAgent::builder(endless)).await;
    let mut raw = RawClient::connect(server.endpoint()).await;
    let headers = [("grpc-timeout", "1S")];
    let answer = raw.exchange(STREAM, &headers, framed(&request("x"))).await;
    let answer = answer.unwrap();
    assert_eq!(answer.status.unwrap().0, "4");
    // A slow machine may not have sent the chunk in time.
    for chunk in unframed::<StreamChunk>(&answer.body) {
        assert_eq!(chunk.message.unwrap().content, "first");
    }
}

struct OnDrop(Arc<AtomicUsize>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}
