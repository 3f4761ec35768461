//! What agents and tools learn about a request from its context.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use agentwire::{
    Agent, AgentError, CallOptions, LocalAgent, Map, Message, RemoteAgent, RequestContext,
    ToolResult, agent_fn, map, stream_fn, tool_fn, transport::PeerAddr,
};
use futures_core::Stream;
use tokio::time::Instant;

use crate::common::{memory, within};

type Seen = Arc<Mutex<Vec<RequestContext>>>;

/// Records the contexts of its calls.
struct Recording<A> {
    seen: Seen,
    inner: A,
}

impl<A: Agent> Agent for Recording<A> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn process(
        &self,
        message: Message,
        context: RequestContext,
    ) -> Result<Message, AgentError> {
        self.seen.lock().unwrap().push(context.clone());
        self.inner.process(message, context).await
    }

    fn stream(
        &self,
        message: Message,
        context: RequestContext,
    ) -> impl Stream<Item = Result<Message, AgentError>> + Send {
        self.seen.lock().unwrap().push(context.clone());
        self.inner.stream(message, context)
    }
}

fn echo() -> impl Agent {
    agent_fn("echo", |message: Message| async move { Ok(message) })
}

#[tokio::test(start_paused = true)]
async fn an_agent_sees_the_request_the_name_the_peer_and_the_deadline() {
    let seen = Seen::default();
    let agent = Recording {
        seen: Arc::clone(&seen),
        inner: echo(),
    };
    let server = LocalAgent::builder(agent)
        .handler_timeout(Duration::from_secs(7))
        .endpoint(memory("context"))
        .serve()
        .await
        .unwrap();
    for name in ["echo", "alias", ""] {
        let builder = RemoteAgent::builder(server.endpoint());
        let remote = builder.name(name).build().unwrap();
        within(remote.process(Message::user("x"))).await.unwrap();
        let _ = within(remote.stream(Message::user("x")).next()).await;
        let calls = std::mem::take(&mut *seen.lock().unwrap());
        let [process, stream] = &calls[..] else {
            panic!("{calls:?}");
        };
        for context in [process, stream] {
            assert_eq!(context.agent_name(), (!name.is_empty()).then_some(name));
            assert!(
                matches!(context.peer().address(), PeerAddr::Memory(_)),
                "{context:?}"
            );
        }
        assert_ne!(process.request_id(), stream.request_id());
        assert_eq!(process.remaining(), Some(Duration::from_secs(7)));
        assert_eq!(stream.deadline(), None);
    }
}

#[tokio::test]
async fn a_tool_sees_its_caller() {
    let tool = tool_fn("whoami", |_: Map, context: RequestContext| async move {
        Ok(ToolResult::success(context.peer().to_string()))
    });
    let server = LocalAgent::builder(echo())
        .tool(tool)
        .endpoint(memory("whoami"))
        .serve()
        .await
        .unwrap();
    let remote = RemoteAgent::new(server.endpoint()).unwrap();
    let result = within(remote.execute("whoami", map! {})).await.unwrap();
    assert_eq!(result.data.as_str(), Some(&*server.endpoint().to_string()));
}

#[tokio::test(start_paused = true)]
async fn a_remote_agent_waits_no_longer_than_its_callers_deadline() {
    let stuck = agent_fn("stuck", |_: Message| std::future::pending());
    let server = LocalAgent::serve(stuck, memory("stuck")).await.unwrap();
    let remote = RemoteAgent::new(server.endpoint()).unwrap();
    let limit = Duration::from_secs(2);
    let start = Instant::now();
    let context = RequestContext::new().with_deadline(start + limit);
    let error = Agent::process(&remote, Message::user("x"), context).await;
    assert!(error.unwrap_err().call_error().unwrap().is_timeout());
    assert_eq!(start.elapsed(), limit);
    // An own timeout that is shorter still holds.
    let options = CallOptions::new().timeout(limit / 2);
    let error = remote.process_with(Message::user("x"), &options).await;
    assert!(error.unwrap_err().is_timeout());
    assert_eq!(start.elapsed(), limit + limit / 2);
}

#[tokio::test]
async fn a_shared_streaming_closure_is_an_agent_with_capabilities() {
    let count = stream_fn("count", |_: Message| {
        futures_util::stream::iter((0..3).map(|i| Ok(Message::agent(i))))
    })
    .with_capabilities(map! {"counts": true});
    let server = LocalAgent::serve(Arc::new(count), memory("stream-fn"))
        .await
        .unwrap();
    assert_eq!(server.capabilities(), map! {"counts": true});
    let remote = RemoteAgent::new(server.endpoint()).unwrap();
    let mut stream = remote.stream(Message::user("go"));
    for i in 0..3 {
        let chunk = within(stream.next()).await.unwrap().unwrap();
        assert_eq!(chunk.content.as_i64(), Some(i));
    }
    assert!(within(stream.next()).await.is_none());
    let error = within(remote.process(Message::user("go")))
        .await
        .unwrap_err();
    assert_eq!(
        error.remote().unwrap().message,
        "count supports only streaming"
    );
}
