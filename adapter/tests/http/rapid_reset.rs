//! Peers of HTTP/2 that reset their requests at once, exceed limits, or send too many headers.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use agentwire::{LocalAgent, LocalAgentBuilder, Message, agent_fn};
use bytes::Bytes;
use h2::{
    Reason,
    client::{Connection, SendRequest},
};
use http::{Request, StatusCode};
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

use crate::{
    common::{until, within},
    peer::{Peer, message},
};

/// Counts the handlers that run.
#[derive(Clone, Default)]
struct Running(Arc<AtomicUsize>);

struct One(Running);

impl Running {
    fn enter(&self) -> One {
        self.0.fetch_add(1, Relaxed);
        One(self.clone())
    }

    fn count(&self) -> usize {
        self.0.load(Relaxed)
    }
}

impl Drop for One {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Relaxed);
    }
}

/// A server whose agent hangs unless the content is a text.
async fn serve(
    running: &Running,
    build: impl FnOnce(LocalAgentBuilder) -> LocalAgentBuilder,
) -> LocalAgent {
    let running = running.clone();
    let agent = agent_fn("hangs", move |message: Message| {
        let one = running.enter();
        async move {
            if message.text().is_none() {
                std::future::pending::<()>().await;
            }
            drop(one);
            Ok(message)
        }
    });
    let builder = build(LocalAgent::builder(agent));
    within(builder.endpoint("h2c://127.0.0.1:0").serve())
        .await
        .unwrap()
}

async fn connect(
    server: &LocalAgent,
) -> (SendRequest<Bytes>, AbortOnDropHandle<Result<(), h2::Error>>) {
    let (host, port) = server.endpoint().host_and_port().unwrap();
    let stream = within(TcpStream::connect((host, port))).await.unwrap();
    let handshake: (_, Connection<_, Bytes>) = within(h2::client::handshake(stream)).await.unwrap();
    let (sender, connection) = handshake;
    (sender, AbortOnDropHandle::new(tokio::spawn(connection)))
}

fn post(path: &str) -> Request<()> {
    Request::post(format!("http://test{path}"))
        .body(())
        .unwrap()
}

fn hanging() -> Bytes {
    Bytes::from(message("").replace(r#""h\u00e9""#, "7"))
}

async fn is_served(server: &LocalAgent) {
    let mut peer = Peer::connect(server.endpoint()).await;
    assert_eq!(peer.ask("/process", &message("")).await.status, 200);
}

#[tokio::test]
async fn a_peer_that_resets_its_requests_at_once_costs_itself_the_connection() {
    let running = Running::default();
    let server = serve(&running, |builder| builder).await;
    for path in ["/process", "/stream"] {
        let (mut sender, driver) = connect(&server).await;
        let mut sent = 0;
        for _ in 0..RESETS {
            let Ok(ready) = within(sender.clone().ready()).await else {
                break;
            };
            sender = ready;
            let Ok((_answer, mut body)) = sender.send_request(post(path), false) else {
                break;
            };
            // Most requests arrive before their resets.
            if body.send_data(hanging(), true).is_err() {
                break;
            }
            tokio::task::yield_now().await;
            body.send_reset(Reason::CANCEL);
            sent += 1;
        }
        assert!(sent > 0);
        drop(sender);
        let ended = within(driver).await.unwrap();
        if let Err(error) = &ended {
            let reason = error.reason();
            let is_calm = reason.is_none() || reason == Some(Reason::ENHANCE_YOUR_CALM);
            assert!(is_calm, "{error:?}");
        }
        until("all handlers have ended", || running.count() == 0).await;
        is_served(&server).await;
    }
}

#[tokio::test]
async fn a_peer_has_no_more_requests_than_its_limit() {
    let running = Running::default();
    let server = serve(&running, |builder| builder.max_in_flight_per_connection(8)).await;
    let (mut sender, _driver) = connect(&server).await;
    let mut answers = Vec::new();
    for _ in 0..8 {
        sender = within(sender.ready()).await.unwrap();
        let (answer, mut body) = sender.send_request(post("/process"), false).unwrap();
        body.send_data(hanging(), true).unwrap();
        answers.push((answer, body));
    }
    until("the limit is reached", || running.count() == 8).await;
    // The library of this peer obeys the limit that the server has announced.
    until("the limit arrives", || {
        sender.current_max_send_streams() == 8
    })
    .await;
    is_served(&server).await;
    assert_eq!(running.count(), 8);
    drop(answers);
    until("all handlers have ended", || running.count() == 0).await;
}

#[tokio::test]
async fn headers_and_bodies_over_the_limits_are_refused_and_the_connection_stays_usable() {
    let limits = agentwire::FrameLimits::default().receive(1000);
    let server = serve(&Running::default(), |builder| builder.frame_limits(limits)).await;
    let (mut sender, _driver) = connect(&server).await;
    let mut ask = async |request: Request<()>, data: Vec<u8>| {
        let mut ready = within(sender.clone().ready()).await.unwrap();
        let (answer, mut body) = ready.send_request(request, false).unwrap();
        // The server may refuse the request before it has read the body.
        let _ = body.send_data(data.into(), true);
        sender = ready;
        within(answer).await.map(|answer| answer.status())
    };
    let mut large = post("/process");
    let value = "x".repeat(20 * 1024).parse().unwrap();
    large.headers_mut().insert("x-large", value);
    let refused = ask(large, message("").into()).await;
    assert_eq!(
        refused.unwrap(),
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
    );
    let body = ask(post("/process"), vec![b' '; 1001]).await;
    assert_eq!(body.unwrap(), StatusCode::PAYLOAD_TOO_LARGE);
    let good = ask(post("/process"), message("").into()).await;
    assert_eq!(good.unwrap(), StatusCode::OK);
    // Headers that are far too large cost the connection.
    let mut large = post("/process");
    let value = "x".repeat(1024 * 1024).parse().unwrap();
    large.headers_mut().insert("x-large", value);
    assert!(ask(large, message("").into()).await.is_err());
    is_served(&server).await;
}

/// More resets than any server tolerates on one connection.
const RESETS: usize = 5000;

#[tokio::test]
async fn a_refused_request_is_answered_after_its_small_body() {
    let running = Running::default();
    let server = serve(&running, |builder| builder).await;
    let (mut sender, _driver) = connect(&server).await;
    let mut refused = post("/nowhere");
    let len = http::HeaderValue::from_static("2");
    refused
        .headers_mut()
        .insert(http::header::CONTENT_LENGTH, len);
    let (answer, mut body) = sender.send_request(refused, false).unwrap();
    // A client such as curl 7.88 loses an answer that ends the request.
    let health = Request::get("http://test/health").body(()).unwrap();
    for _ in 0..3 {
        sender = within(sender.ready()).await.unwrap();
        let (other, _) = sender.send_request(health.clone(), true).unwrap();
        assert_eq!(within(other).await.unwrap().status(), StatusCode::OK);
    }
    body.send_data(Bytes::from_static(b"{}"), true).unwrap();
    assert_eq!(
        within(answer).await.unwrap().status(),
        StatusCode::NOT_FOUND
    );
}
