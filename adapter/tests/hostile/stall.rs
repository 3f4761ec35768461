//! A frame that takes long to decode or to encode delays no other connection.

use std::sync::Arc;

use agentwire::{
    Agent, AgentError, LocalAgent, Message, RemoteAgent, RequestContext, Value, agent_fn,
    transport::{self, Connection, Listener},
};
use agentwire_codec::{Body, Envelope, Format, RequestId, Response, put_frame};
use futures_util::poll;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    runtime::Builder,
    task::yield_now,
};

use crate::common::{process_frame, within};

/// Contents that take long to encode and to decode, in both formats.
fn slow_contents() -> Vec<(&'static str, Value)> {
    let integers = (0..VALUES).map(|number| Value::from(number % 10));
    let keys = (0..VALUES / 8).map(|number| (format!("{number:07}"), Value::Null));
    let nested =
        (0..VALUES / 100).map(|_| (0..100).fold(Value::Null, |inner, _| Value::List(vec![inner])));
    vec![
        ("small integers", Value::List(integers.collect())),
        ("distinct keys", Value::Map(keys.collect())),
        ("nested lists", Value::List(nested.collect())),
    ]
}

/// Serves an agent that answers at once, with as little as possible.
async fn serve(name: &str) -> LocalAgent {
    let agent = agent_fn("short", |_: Message| async { Ok(Message::agent("ok")) });
    LocalAgent::serve(
        agent,
        format!("memory://{name}-{:x}", fastrand::u64(..)).as_str(),
    )
    .await
    .unwrap()
}

fn on_one_thread(test: impl Future<Output = ()>) {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(test);
}

/// Counts the calls of an honest client that are answered before `slow` ends.
async fn calls_beside(honest: &RemoteAgent, slow: impl Future) -> usize {
    let mut slow = std::pin::pin!(slow);
    let mut calls = 0;
    while poll!(slow.as_mut()).is_pending() {
        within(honest.process(Message::user("honest")))
            .await
            .unwrap();
        calls += 1;
        yield_now().await;
    }
    calls
}

#[test]
fn a_server_on_one_thread_answers_others_while_it_decodes_a_slow_frame() {
    on_one_thread(async {
        for format in [Format::Json, Format::MessagePack] {
            for (name, content) in slow_contents() {
                let server = serve("decode").await;
                let honest = RemoteAgent::new(server.endpoint()).unwrap();
                let mut peer = transport::connect(server.endpoint()).await.unwrap();
                let frame = frame_in(format, Message::user(content));
                let slow = async {
                    peer.write_all(&frame).await.unwrap();
                    read_frame(&mut peer).await;
                };
                let calls = calls_beside(&honest, slow).await;
                assert!(
                    calls >= MIN_CALLS,
                    "{calls} calls beside {name} in {format:?}"
                );
            }
        }
    });
}

/// Answers every message with the same large content.
struct Verbose(Arc<Value>);

impl Agent for Verbose {
    fn name(&self) -> &str {
        "verbose"
    }

    async fn process(&self, message: Message, _: RequestContext) -> Result<Message, AgentError> {
        if message.content == "large" {
            return Ok(Message::agent((*self.0).clone()));
        }
        Ok(message)
    }
}

#[test]
fn a_server_on_one_thread_answers_others_while_it_encodes_a_large_answer() {
    on_one_thread(async {
        for (name, content) in slow_contents() {
            let agent = Verbose(Arc::new(content));
            let endpoint = format!("memory://encode-{:x}", fastrand::u64(..));
            let server = LocalAgent::serve(agent, endpoint.as_str()).await.unwrap();
            let honest = RemoteAgent::new(server.endpoint()).unwrap();
            let mut peer = transport::connect(server.endpoint()).await.unwrap();
            let frame = process_frame("7", Message::user("large"));
            peer.write_all(&frame).await.unwrap();
            let calls = calls_beside(&honest, peer.read_u32()).await;
            assert!(calls >= MIN_CALLS, "{calls} calls beside {name}");
        }
    });
}

#[test]
fn a_client_on_one_thread_calls_others_while_it_decodes_a_slow_answer() {
    on_one_thread(async {
        for shared in [1, 8] {
            for (name, content) in slow_contents() {
                let endpoint = format!("memory://hostile-{:x}", fastrand::u64(..));
                let mut listener = Listener::bind(&endpoint.parse().unwrap()).await.unwrap();
                let hostile = RemoteAgent::builder(listener.endpoint())
                    .max_in_flight_per_connection(shared)
                    .build()
                    .unwrap();
                let server = serve("honest").await;
                let honest = RemoteAgent::new(server.endpoint()).unwrap();
                let call = tokio::spawn(async move { hostile.process(Message::user("x")).await });
                let mut peer = listener.accept().await.unwrap();
                let request = Format::Json.decode(&read_frame(&mut peer).await).unwrap();
                let answer = answer_frame(&request.id, Message::agent(content));
                peer.write_all(&answer).await.unwrap();
                let calls = calls_beside(&honest, call).await;
                assert!(
                    calls >= MIN_CALLS,
                    "{calls} calls beside {name}, shared by {shared}"
                );
            }
        }
    });
}

fn frame_in(format: Format, message: Message) -> Vec<u8> {
    let json = process_frame("7", message);
    let envelope = Format::Json.decode(&json[4..]).unwrap();
    encode(format, &envelope)
}

fn answer_frame(id: &RequestId, message: Message) -> Vec<u8> {
    let body: Body = Response::Message(message).into();
    encode(Format::Json, &Envelope::new(id.clone(), body))
}

fn encode(format: Format, envelope: &Envelope) -> Vec<u8> {
    let mut frame = Vec::new();
    put_frame(&mut frame, usize::MAX, |buffer| {
        format.encode(envelope, buffer)
    })
    .unwrap();
    frame
}

async fn read_frame(peer: &mut Connection) -> Vec<u8> {
    let len = peer.read_u32().await.unwrap();
    let mut payload = vec![0; len as usize];
    peer.read_exact(&mut payload).await.unwrap();
    payload
}

/// How many values the contents have. Each takes at least one byte in either format.
const VALUES: usize = 1_000_000;

/// How many calls of an honest client are answered at least while one slow frame is processed.
///
/// If the frame were processed on the one thread, there would be some ten: those that are answered
/// while the last bytes of the frame are on their way.
const MIN_CALLS: usize = 30;
