//! Trace contexts, deadlines and idempotency keys: what a request says about its delivery.

use std::{
    collections::BTreeMap,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use agentwire::{
    Agent, AgentError, CallOptions, ErrorCode, LocalAgent, Map, Message, Proxy, RemoteAgent,
    RequestContext, RetryPolicy, ToolResult, TraceContext, Value, agent_fn, map, stream_fn,
    tool_fn, transport::internal::Mutex,
};
use agentwire_codec::{Body, EnvelopeType};
use futures_core::Stream;
use futures_util::{StreamExt, stream};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
    time::Instant,
};

use crate::common::{RawPeer, listen, memory, within};

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Answers with the trace context in the metadata of the message.
fn seen_trace() -> impl Agent {
    agent_fn("seen", |message: Message| async move {
        Ok(Message::agent(message.metadata["trace_context"].clone()))
    })
}

fn traced(traceparent: &str) -> Message {
    let fields = map! {"traceparent": traceparent, "tracestate": "a=1", "baggage": "b=2"};
    Message::user("hi").with_metadata("trace_context", fields)
}

#[tokio::test]
async fn a_call_made_while_handling_a_request_carries_its_trace_on() {
    let target = LocalAgent::serve(seen_trace(), memory("traced"))
        .await
        .unwrap();
    for sends in [false, true] {
        let next = RemoteAgent::builder(target.endpoint())
            .send_trace_context(sends)
            .build()
            .unwrap();
        // The agent passes neither the context nor the metadata on.
        let relay = agent_fn("relay", move |_: Message, context: RequestContext| {
            let next = next.clone();
            async move {
                assert!(context.trace_context().is_some());
                Ok(next.process(Message::user("next")).await?)
            }
        });
        let relay = LocalAgent::serve(relay, memory("relay")).await.unwrap();
        let remote = RemoteAgent::new(relay.endpoint()).unwrap();
        for traceparent in [TRACE, "a context of the future"] {
            let reply = within(remote.process(traced(traceparent))).await.unwrap();
            if sends {
                assert_eq!(reply.content["traceparent"], traceparent);
                assert_eq!(reply.content["tracestate"], "a=1");
                assert_eq!(reply.content["baggage"], "b=2");
            } else {
                assert!(reply.content.is_null());
            }
        }
        within(relay.stop()).await;
    }
}

#[tokio::test]
async fn a_client_sends_the_trace_context_of_its_options() {
    let now = tool_fn("seen", |_: Map, context: RequestContext| async move {
        let trace = context
            .trace_context()
            .and_then(|trace| trace.traceparent().map(str::to_owned));
        Ok(ToolResult::success(trace))
    });
    let server = LocalAgent::builder(seen_trace())
        .tool(now)
        .trace_replies(true)
        .endpoint(memory("options"))
        .serve()
        .await
        .unwrap();
    let remote = RemoteAgent::builder(server.endpoint())
        .send_trace_context(true)
        .build()
        .unwrap();
    let options = CallOptions::new().trace_context(TraceContext::from_traceparent(TRACE));
    let reply = within(remote.process_with(Message::user("hi"), &options))
        .await
        .unwrap();
    assert_eq!(reply.content["traceparent"], TRACE);
    // The server is set to trace its replies.
    assert_eq!(reply.metadata["trace_context"]["traceparent"], TRACE);
    let result = within(remote.execute_with("seen", Map::new(), &options))
        .await
        .unwrap();
    assert_eq!(result.data, TRACE);
    let reply = within(remote.process(Message::user("hi"))).await.unwrap();
    assert!(reply.content.is_null() && reply.metadata.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_server_stops_at_the_deadline_of_the_caller_and_passes_on_what_is_left() {
    let dropped = Arc::new(Notify::new());
    let slow = {
        let dropped = Arc::clone(&dropped);
        agent_fn("slow", move |_: Message, context: RequestContext| {
            let guard = NotifyOnDrop(Arc::clone(&dropped));
            async move {
                let left = context.remaining().unwrap();
                assert!(left <= Duration::from_secs(2), "{left:?}");
                tokio::time::sleep(Duration::from_secs(3600)).await;
                drop(guard);
                Ok(Message::agent("late"))
            }
        })
    };
    let slow = LocalAgent::serve(slow, memory("slow")).await.unwrap();
    let next = RemoteAgent::builder(slow.endpoint())
        .send_deadlines(true)
        .build()
        .unwrap();
    // The relay is an agent that passes the context on.
    let relay = LocalAgent::serve(next, memory("relay")).await.unwrap();
    let remote = RemoteAgent::builder(relay.endpoint())
        .send_deadlines(true)
        .build()
        .unwrap();
    let options = CallOptions::new().timeout(Duration::from_secs(2));
    let call = remote.process_with(Message::user("hi"), &options);
    let error = call.await.unwrap_err();
    assert!(
        error.is_timeout() || error.code() == ErrorCode::AGENT_TIMEOUT,
        "{error}"
    );
    dropped.notified().await;
}

#[tokio::test(start_paused = true)]
async fn a_proxy_stops_at_the_deadline_of_the_caller() {
    let hour = Duration::from_secs(3600);
    let slow = agent_fn("slow", move |message: Message| async move {
        tokio::time::sleep(hour).await;
        Ok(message)
    });
    let chatty = stream_fn("chatty", move |message: Message| {
        stream::repeat(message).then(|message| async move {
            tokio::time::sleep(Duration::from_millis(400)).await;
            Ok(message)
        })
    });
    // A target that does not know the key, so that only the proxy can stop.
    let (endpoint, mut far) = listen("deaf").await;
    let deaf = tokio::spawn(async move {
        let mut peer = RawPeer::accept(&mut far).await;
        let request = peer.receive_payload().await;
        tokio::time::sleep(hour).await;
        request
    });
    let server = LocalAgent::builder(slow)
        .agent(chatty)
        .endpoint(memory("targets"))
        .serve()
        .await
        .unwrap();
    for (target, method, chunks) in [
        (&endpoint, "process", 0),
        (server.endpoint(), "process", 0),
        (server.endpoint(), "stream", 4),
    ] {
        let target = RemoteAgent::builder(target).timeout(hour);
        let proxy = Proxy::builder(target).endpoint(memory("proxy"));
        let proxy = proxy.serve().await.unwrap();
        let mut caller = RawPeer::connect(proxy.endpoint()).await;
        let name = if method == "stream" { "chatty" } else { "slow" };
        let message = map! {"role": "user", "content": "hi"};
        let request = map! {
            "version": "1.0", "type": "request", "id": "1",
            "payload": {
                "method": method, "agent_name": name, "message": message, "deadline_ms": 1900
            },
        };
        let start = Instant::now();
        caller
            .send_frame(Value::from(request).to_string().as_bytes())
            .await;
        for _ in 0..chunks {
            let chunk = caller.receive().await;
            assert_eq!(chunk.body.kind(), EnvelopeType::StreamChunk);
        }
        let end = caller.receive().await;
        let Body::Error(error) = end.body else {
            panic!("{end:?}");
        };
        assert_eq!(error.code, ErrorCode::AGENT_TIMEOUT);
        assert_eq!(start.elapsed(), Duration::from_millis(1900), "{method}");
    }
    deaf.abort();
}

struct NotifyOnDrop(Arc<Notify>);

impl Drop for NotifyOnDrop {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

/// Forwards connections, and kills each second one after the request and before the answer.
async fn killer(target: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for number in 0.. {
            let (mut peer, _) = listener.accept().await.unwrap();
            let target = target.clone();
            tokio::spawn(async move {
                let mut server = TcpStream::connect(target).await.unwrap();
                if number % 2 == 1 {
                    let _ = tokio::io::copy_bidirectional(&mut peer, &mut server).await;
                    return;
                }
                let mut buffer = vec![0; 64 * 1024];
                let read = peer.read(&mut buffer).await.unwrap_or(0);
                let written = server.write_all(&buffer[..read]).await;
                // Some answers are ready when the connection ends, others are not.
                if written.is_ok() && fastrand::bool() {
                    let _ = server.read(&mut buffer).await;
                }
            });
        }
    });
    format!("tcp://{address}")
}

#[tokio::test]
async fn idempotent_calls_over_connections_that_die_have_one_effect_each() {
    const CALLS: u64 = 400;
    let effects: Arc<Mutex<BTreeMap<String, u32>>> = Arc::default();
    let counting = {
        let effects = Arc::clone(&effects);
        agent_fn("counting", move |message: Message| {
            let effects = Arc::clone(&effects);
            async move {
                // The request may be dropped before, but not after its effect.
                tokio::task::yield_now().await;
                let text = message.text().unwrap_or_default().to_owned();
                *effects.lock().entry(text.clone()).or_default() += 1;
                tokio::task::yield_now().await;
                Ok(Message::agent(text))
            }
        })
    };
    let server = LocalAgent::builder(counting)
        .keep_outcomes(Duration::from_secs(60), 1 << 20)
        .endpoint("tcp://127.0.0.1:0")
        .serve()
        .await
        .unwrap();
    let address = server.endpoint().to_string().replace("tcp://", "");
    let remote = RemoteAgent::builder(killer(address).await)
        .idempotent(true)
        .idle_timeout(Duration::ZERO)
        .retry(
            RetryPolicy::new()
                .resend(20)
                .backoff(Duration::from_millis(1), Duration::from_millis(2)),
        )
        .build()
        .unwrap();
    let replayed = AtomicU64::new(0);
    for chunk in 0..CALLS / 20 {
        let (remote, replayed) = (&remote, &replayed);
        let calls = (0..20).map(|number| async move {
            let text = format!("{chunk}-{number}");
            let reply = remote.process(Message::user(text.as_str())).await.unwrap();
            assert_eq!(reply.text(), Some(text.as_str()));
            if reply.metadata["idempotent_replay"] == true {
                replayed.fetch_add(1, Relaxed);
            }
        });
        within(futures_util::future::join_all(calls.collect::<Vec<_>>())).await;
    }
    let effects = effects.lock();
    let doubled = effects.values().filter(|count| **count > 1).count();
    println!(
        "calls {CALLS}, effects {}, doubled {doubled}, lost {}, replayed {}",
        effects.values().sum::<u32>(),
        CALLS as usize - effects.len(),
        replayed.load(Relaxed),
    );
    assert_eq!(effects.len() as u64, CALLS);
    assert_eq!(doubled, 0);
    assert!(replayed.load(Relaxed) > 0);
}

#[tokio::test]
async fn a_repeated_request_joins_the_one_in_flight_and_a_different_one_is_refused() {
    let (started, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let runs = Arc::new(AtomicU64::new(0));
    let agent = {
        let (started, release) = (Arc::clone(&started), Arc::clone(&release));
        let runs = Arc::clone(&runs);
        agent_fn("once", move |message: Message| {
            let (started, release) = (Arc::clone(&started), Arc::clone(&release));
            runs.fetch_add(1, Relaxed);
            async move {
                started.notify_one();
                release.notified().await;
                if message.text() == Some("fail") {
                    return Err(AgentError::with_code("NO", "never"));
                }
                Ok(message)
            }
        })
    };
    let server = LocalAgent::builder(agent)
        .keep_outcomes(Duration::from_secs(60), 1 << 20)
        .endpoint(memory("once"))
        .serve()
        .await
        .unwrap();
    let remote = RemoteAgent::new(server.endpoint()).unwrap();
    let options = CallOptions::new().idempotency_key("a");
    let call = |text: &'static str, options: CallOptions| {
        let remote = remote.clone();
        tokio::spawn(async move { remote.process_with(Message::user(text), &options).await })
    };
    // The first caller leaves; the request continues.
    let first = call("hi", options.clone());
    within(started.notified()).await;
    first.abort();
    let second = call("hi", options.clone());
    let other = within(call("other", options.clone()))
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(other.code(), ErrorCode::INVALID_MESSAGE);
    release.notify_one();
    let reply = within(second).await.unwrap().unwrap();
    assert_eq!(reply.metadata["idempotent_replay"], true);
    assert_eq!(runs.load(Relaxed), 1);
    // An error is an outcome, too.
    let options = CallOptions::new().idempotency_key("b");
    for is_repeated in [false, true] {
        release.notify_one();
        let error = within(call("fail", options.clone()))
            .await
            .unwrap()
            .unwrap_err();
        let details = &error.remote().unwrap().details;
        assert_eq!(details.contains_key("idempotent_replay"), is_repeated);
    }
    assert_eq!(runs.load(Relaxed), 2);
    within(server.stop()).await;
}

#[tokio::test]
async fn idempotent_streams_over_connections_that_die_have_one_effect_each() {
    const STREAMS: u64 = 200;
    let effects: Arc<Mutex<BTreeMap<String, u32>>> = Arc::default();
    let counting = {
        let effects = Arc::clone(&effects);
        stream_fn("counting", move |message: Message| {
            let effects = Arc::clone(&effects);
            let text = message.text().unwrap_or_default().to_owned();
            let first = async move {
                tokio::task::yield_now().await;
                *effects.lock().entry(text.clone()).or_default() += 1;
                Ok(Message::agent(text))
            };
            stream::once(first).chain(stream::iter([Ok(Message::agent("end"))]))
        })
    };
    let server = LocalAgent::builder(counting)
        .keep_outcomes(Duration::from_secs(60), 1 << 20)
        .endpoint("tcp://127.0.0.1:0")
        .serve()
        .await
        .unwrap();
    let address = server.endpoint().to_string().replace("tcp://", "");
    let remote = RemoteAgent::builder(killer(address).await)
        .idempotent(true)
        .idle_timeout(Duration::ZERO)
        .retry(
            RetryPolicy::new()
                .resend(20)
                .backoff(Duration::from_millis(1), Duration::from_millis(2)),
        )
        .build()
        .unwrap();
    let replayed = AtomicU64::new(0);
    for chunk in 0..STREAMS / 20 {
        let (remote, replayed) = (&remote, &replayed);
        let calls = (0..20).map(|number| async move {
            let text = format!("{chunk}-{number}");
            let mut chunks = remote.stream(Message::user(text.as_str()));
            let first = chunks.next().await.unwrap().unwrap();
            assert_eq!(first.text(), Some(text.as_str()));
            if first.metadata["idempotent_replay"] == true {
                replayed.fetch_add(1, Relaxed);
            }
            let last = chunks.next().await.unwrap().unwrap();
            assert_eq!(last.text(), Some("end"));
            assert!(last.metadata.is_empty());
            assert!(chunks.next().await.is_none());
        });
        within(futures_util::future::join_all(calls.collect::<Vec<_>>())).await;
    }
    let effects = effects.lock();
    let doubled = effects.values().filter(|count| **count > 1).count();
    println!(
        "streams {STREAMS}, effects {}, doubled {doubled}, lost {}, replayed {}",
        effects.values().sum::<u32>(),
        STREAMS as usize - effects.len(),
        replayed.load(Relaxed),
    );
    assert_eq!(effects.len() as u64, STREAMS);
    assert_eq!(doubled, 0);
    assert!(replayed.load(Relaxed) > 0);
}

/// Streams a first chunk, and then chunks of a length that the test chooses, until it is dropped.
struct Endless {
    runs: AtomicU64,
    dropped: Arc<Notify>,
}

impl Agent for Endless {
    fn name(&self) -> &str {
        "endless"
    }

    async fn process(&self, message: Message, _: RequestContext) -> Result<Message, AgentError> {
        Ok(message)
    }

    fn stream(
        &self,
        message: Message,
        _: RequestContext,
    ) -> impl Stream<Item = Result<Message, AgentError>> + Send {
        let run = self.runs.fetch_add(1, Relaxed);
        let guard = NotifyOnDrop(Arc::clone(&self.dropped));
        stream::iter(0..).then(move |number| {
            let _ = &guard;
            let long = "x".repeat(message.content.as_u64().unwrap_or_default() as usize);
            async move {
                if number > 1 {
                    std::future::pending::<()>().await;
                }
                Ok(Message::agent(format!("{run} {number} {long}")))
            }
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_repeated_stream_is_taken_over_or_refused_if_too_much_of_it_was_sent() {
    let dropped = Arc::new(Notify::new());
    let agent = Endless {
        runs: AtomicU64::new(0),
        dropped: Arc::clone(&dropped),
    };
    let server = LocalAgent::builder(agent)
        .keep_outcomes(Duration::from_secs(60), 1 << 20)
        .endpoint(memory("takeover"))
        .serve()
        .await
        .unwrap();
    let remote = RemoteAgent::builder(server.endpoint())
        .retry(RetryPolicy::never())
        .build()
        .unwrap();
    let small = CallOptions::new().idempotency_key("small");
    let mut first = remote.stream_with(Message::user(0), &small);
    for number in 0..2 {
        let chunk = within(first.next()).await.unwrap().unwrap();
        assert_eq!(chunk.text(), Some(&*format!("0 {number} ")));
    }
    // The second request gets the same chunks, and the first one no more.
    let mut second = remote.stream_with(Message::user(0), &small);
    for number in 0..2 {
        let chunk = within(second.next()).await.unwrap().unwrap();
        assert_eq!(chunk.text(), Some(&*format!("0 {number} ")));
        assert_eq!(
            chunk.metadata.contains_key("idempotent_replay"),
            number == 0
        );
    }
    let error = within(first.next()).await.unwrap().unwrap_err();
    assert_eq!(error.code(), ErrorCode::INVALID_MESSAGE);
    // The request is not repeated, so the stream ends.
    drop((first, second));
    within(dropped.notified()).await;
    let again = remote.stream_with(Message::user(0), &small);
    let chunk = within(pin!(again).next()).await.unwrap().unwrap();
    assert_eq!(chunk.text(), Some("1 0 "));

    let large = CallOptions::new().idempotency_key("large");
    let mut first = remote.stream_with(Message::user(20_000), &large);
    within(first.next()).await.unwrap().unwrap();
    drop(first);
    within(dropped.notified()).await;
    let mut second = remote.stream_with(Message::user(20_000), &large);
    let error = within(second.next()).await.unwrap().unwrap_err();
    assert_eq!(error.code(), ErrorCode::INVALID_MESSAGE);
    assert_eq!(error.remote().unwrap().details["reason"], "idempotency_key");
}
