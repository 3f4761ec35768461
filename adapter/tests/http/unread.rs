//! Peers of HTTP/2 that do not read the events of their streams.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use agentwire::{LocalAgent, Message, stream_fn};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use h2::{Reason, RecvStream, client::SendRequest};
use http::{Request, StatusCode};
use tokio::{net::TcpStream, sync::Semaphore};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    common::{until, within},
    peer::message,
};

/// Counts the streams of an agent that have not been dropped.
#[derive(Clone, Default)]
struct Open(Arc<AtomicUsize>);

struct One(Open);

impl Open {
    fn enter(&self) -> One {
        self.0.fetch_add(1, Relaxed);
        One(self.clone())
    }
}

impl Drop for One {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Relaxed);
    }
}

/// A server whose agent has an endless stream. If the content is "7", the stream has one event, and
/// ends once the gate is open.
async fn serve(open: &Open, gate: &Arc<Semaphore>) -> LocalAgent {
    let (open, gate) = (open.clone(), Arc::clone(gate));
    let agent = stream_fn("events", move |message: Message| {
        let one = open.enter();
        let gate = Arc::clone(&gate);
        let is_endless = message.content.as_i64() != Some(7);
        let first = stream::iter([Ok(Message::agent("x".repeat(EVENT)))]);
        let rest = stream::unfold((one, gate), move |(one, gate)| async move {
            if !is_endless {
                let _ = gate.acquire().await;
                return None;
            }
            Some((Ok(Message::agent("x".repeat(EVENT))), (one, gate)))
        });
        first.chain(rest)
    });
    let builder = LocalAgent::builder(agent).write_timeout(TIMEOUT);
    within(builder.endpoint("h2c://127.0.0.1:0").serve())
        .await
        .unwrap()
}

struct Client {
    sender: SendRequest<Bytes>,
    _driver: AbortOnDropHandle<Result<(), h2::Error>>,
}

impl Client {
    async fn connect(server: &LocalAgent, window: u32) -> Self {
        let (host, port) = server.endpoint().host_and_port().unwrap();
        let stream = within(TcpStream::connect((host, port))).await.unwrap();
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(window);
        // Streams that are not read leave room for others.
        builder.initial_connection_window_size(64 * 1024 * 1024);
        let (sender, driver) = within(builder.handshake(stream)).await.unwrap();
        Self {
            sender,
            _driver: AbortOnDropHandle::new(tokio::spawn(driver)),
        }
    }

    async fn ask(&mut self, path: &str, body: String) -> RecvStream {
        self.sender = within(self.sender.clone().ready()).await.unwrap();
        let request = Request::post(format!("http://test{path}"))
            .body(())
            .unwrap();
        let (answer, mut stream) = self.sender.send_request(request, false).unwrap();
        stream.send_data(body.into(), true).unwrap();
        let answer = within(answer).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        answer.into_body()
    }
}

/// Waits for the end of a stream without making room for more of it. Returns what has arrived.
async fn unread(stream: &mut RecvStream) -> (usize, Option<h2::Error>) {
    let mut received = 0;
    loop {
        match within(stream.data()).await {
            Some(Ok(bytes)) => received += bytes.len(),
            Some(Err(error)) => return (received, Some(error)),
            None => return (received, None),
        }
    }
}

#[tokio::test]
async fn a_stream_of_http2_that_is_not_read_is_reset_and_the_connection_goes_on() {
    let open = Open::default();
    let gate = Arc::new(Semaphore::new(0));
    let server = serve(&open, &gate).await;
    // The peer takes nothing, a part of a chunk, or a part of an event.
    for window in [0, 1, 64 * 1024] {
        let mut client = Client::connect(&server, window).await;
        let mut streams = Vec::new();
        for content in ["1", "7", "1"] {
            let body = message("").replace(r#""h\u00e9""#, content);
            streams.push(client.ask("/stream", body).await);
        }
        for stream in &mut streams {
            let (received, error) = unread(stream).await;
            assert_eq!(error.and_then(|error| error.reason()), Some(Reason::CANCEL));
            assert_eq!(received, window as usize);
        }
        until("the streams were dropped", || open.0.load(Relaxed) == 0).await;
        // Headers need no window.
        let request = Request::head("http://test/live").body(()).unwrap();
        let (answer, _) = client.sender.send_request(request, true).unwrap();
        assert_eq!(within(answer).await.unwrap().status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn a_stream_that_is_read_may_be_silent_for_longer_than_the_write_timeout() {
    let open = Open::default();
    let gate = Arc::new(Semaphore::new(0));
    let server = serve(&open, &gate).await;
    let mut client = Client::connect(&server, 64 * 1024).await;
    let silent = message("").replace(r#""h\u00e9""#, "7");
    let mut silent = client.ask("/stream", silent).await;
    let mut received = 0;
    while received < EVENT {
        let bytes = within(silent.data()).await.unwrap().unwrap();
        silent.flow_control().release_capacity(bytes.len()).unwrap();
        received += bytes.len();
    }
    // Another stream is reset after the timeout.
    let mut other = client.ask("/stream", message("")).await;
    assert!(unread(&mut other).await.1.is_some());
    gate.add_permits(1);
    assert!(unread(&mut silent).await.1.is_none());
}

/// The size of an event, which is more than the window of a peer.
const EVENT: usize = 200_000;

const TIMEOUT: Duration = Duration::from_millis(100);
