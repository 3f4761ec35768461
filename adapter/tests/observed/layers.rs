//! What layers tell the observers of a request.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use agentwire::{
    Agent, AgentError, ErrorCode, LocalAgent, Message, RemoteAgent, RequestContext, RetryPolicy,
    agent_fn,
    layer::{CircuitBreaker, Fallback, Hedge, RateLimit, Retry, Timeout},
    observer::{LayerEvent, Observer},
    transport::internal::Mutex,
};
use tokio::time::sleep;

use crate::common::{memory, within};

const SECOND: Duration = Duration::from_secs(1);

/// The actions of layers, in order.
#[derive(Default)]
struct Actions(Mutex<Vec<String>>);

impl Actions {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock())
    }
}

impl Observer for Actions {
    fn layer_acted(&self, event: &LayerEvent<'_>) {
        let LayerEvent {
            layer,
            action,
            name,
            ..
        } = *event;
        self.0.lock().push(format!("{layer} {action} {name}"));
    }
}

/// An agent that takes the seconds in the message, or fails with the code in it.
fn work() -> impl Agent {
    agent_fn("work", |message: Message| async move {
        match message.text() {
            Some(code) => Err(AgentError::with_code(code, "as the message says")),
            None => {
                let seconds = message.content.as_u64().unwrap_or_default();
                sleep(Duration::from_secs(seconds)).await;
                Ok(message)
            }
        }
    })
}

async fn call(agent: &impl Agent, actions: &Arc<Actions>, content: impl Into<agentwire::Value>) {
    let context = RequestContext::new().with_observer(actions.clone());
    let _ = agent.process(Message::user(content), context).await;
}

#[tokio::test(start_paused = true)]
async fn each_layer_reports_what_it_does() {
    let actions = Arc::new(Actions::default());
    let agent = work().layer(Timeout::new().total(2 * SECOND));
    call(&agent, &actions, 1).await;
    assert!(actions.take().is_empty());
    call(&agent, &actions, 3).await;
    assert_eq!(actions.take(), ["timeout timed_out work"]);

    let agent = work().layer(RateLimit::new(1, 60 * SECOND).burst(1));
    call(&agent, &actions, 0).await;
    call(&agent, &actions, 0).await;
    assert_eq!(actions.take(), ["rate_limit refused work"]);

    let breaker = CircuitBreaker::new()
        .failures(1)
        .successes(1)
        .open_for(SECOND);
    let agent = work().layer(breaker);
    call(&agent, &actions, "INTERNAL_ERROR").await;
    call(&agent, &actions, 0).await;
    sleep(SECOND).await;
    call(&agent, &actions, 0).await;
    assert_eq!(
        actions.take(),
        [
            "circuit_breaker opened work",
            "circuit_breaker refused work",
            "circuit_breaker closed work",
        ]
    );

    let agent = work().layer(Retry::new().times(2));
    call(&agent, &actions, "AGENT_UNAVAILABLE").await;
    assert_eq!(actions.take(), ["retry repeated work"; 2]);

    let other = agent_fn("other", |message: Message| async { Ok(message) });
    let agent = work().layer(Fallback::to(other));
    call(&agent, &actions, "INTERNAL_ERROR").await;
    assert_eq!(actions.take(), ["fallback fell_back work"]);

    let agent = work().layer(Hedge::new(|_| true));
    for _ in 0..20 {
        call(&agent, &actions, 1).await;
    }
    assert!(actions.take().is_empty());
    call(&agent, &actions, 5).await;
    assert_eq!(actions.take(), ["hedge hedged work"]);
}

#[cfg(feature = "cache")]
#[tokio::test(start_paused = true)]
async fn a_cache_reports_hits_and_misses() {
    use agentwire::layer::Cache;

    let actions = Arc::new(Actions::default());
    let agent = work().layer(Cache::new());
    let both = || async {
        tokio::join!(call(&agent, &actions, 1), call(&agent, &actions, 1));
    };
    both().await;
    assert_eq!(actions.take(), ["cache miss work", "cache joined work"]);
    both().await;
    assert_eq!(actions.take(), ["cache hit work"; 2]);
}

#[cfg(feature = "validate")]
#[tokio::test]
async fn validation_reports_what_it_refuses() {
    use agentwire::{Map, Tool, ToolResult, layer::Validate, map, stream_fn, tool_fn};
    use futures_util::{StreamExt, stream};

    let actions = Arc::new(Actions::default());
    let context = || RequestContext::new().with_observer(actions.clone());
    let validate = Validate::new().message("work", map! {"type": "integer"});
    let validate = validate.unwrap().message("ticks", map! {"type": "integer"});
    let validate = Arc::new(validate.unwrap());
    let agent = work().layer(Arc::clone(&validate));
    call(&agent, &actions, 0).await;
    assert!(actions.take().is_empty());
    call(&agent, &actions, "text").await;
    assert_eq!(actions.take(), ["validate refused work"]);

    let ticks = stream_fn("ticks", |message: Message| stream::iter([Ok(message)]));
    let ticks = ticks.layer(Arc::clone(&validate));
    for (content, expected) in [(agentwire::Value::from(0), 0), ("text".into(), 1)] {
        let chunks = ticks.stream(Message::user(content), context()).count();
        chunks.await;
        assert_eq!(actions.take(), vec!["validate refused ticks"; expected]);
    }

    let tool = tool_fn("now", |_: Map| async { Ok(ToolResult::success(1)) });
    let tool = tool.with_parameters(map! {"required": ["zone"]});
    let tool = tool.layer(validate);
    let _ = tool.execute(map! {"zone": "UTC"}, context()).await;
    assert!(actions.take().is_empty());
    let _ = tool.execute(Map::new(), context()).await;
    assert_eq!(actions.take(), ["validate refused now"]);
}

#[cfg(feature = "auth")]
#[tokio::test]
async fn an_audit_reports_the_requests_that_it_cannot_record() {
    use std::sync::atomic::AtomicBool;

    use agentwire::{
        Map, Tool, ToolResult,
        auth::{Audit as Sink, AuditEvent, NotRecorded},
        layer::Audit,
        stream_fn, tool_fn,
    };
    use futures_util::{StreamExt, stream};

    #[derive(Clone, Default)]
    struct Disk {
        is_full: Arc<AtomicBool>,
    }

    impl Sink for Disk {
        async fn record(&self, _: AuditEvent) -> Result<(), NotRecorded> {
            let is_full = self.is_full.load(Relaxed);
            if is_full { Err(NotRecorded) } else { Ok(()) }
        }
    }

    let actions = Arc::new(Actions::default());
    let context = || RequestContext::new().with_observer(actions.clone());
    let disk = Disk::default();
    let audit = Audit::new(disk.clone());
    let agent = work().layer(audit.clone());
    let ticks = stream_fn("ticks", |message: Message| stream::iter([Ok(message)]));
    let ticks = ticks.layer(audit.clone());
    let tool = tool_fn("now", |_: Map| async { Ok(ToolResult::success(1)) }).layer(audit);
    let each = async || {
        call(&agent, &actions, 0).await;
        ticks.stream(Message::user(0), context()).count().await;
        let _ = tool.execute(Map::new(), context()).await;
    };
    each().await;
    assert!(actions.take().is_empty());
    disk.is_full.store(true, Relaxed);
    each().await;
    let expected = ["work", "ticks", "now"].map(|name| format!("audit refused {name}"));
    assert_eq!(actions.take(), expected);
}

#[tokio::test]
async fn layers_of_a_server_report_to_its_observer() {
    let actions = Arc::new(Actions::default());
    let attempts = Arc::new(AtomicU32::new(0));
    let flaky = {
        let attempts = Arc::clone(&attempts);
        agent_fn("flaky", move |message: Message| {
            let fails = attempts.fetch_add(1, Relaxed) == 0;
            async move {
                if fails {
                    let busy = AgentError::with_code(ErrorCode::AGENT_UNAVAILABLE, "busy");
                    return Err(busy);
                }
                Ok(message)
            }
        })
    };
    let server = LocalAgent::builder(flaky)
        .layer(Retry::new().backoff(Duration::from_millis(1), Duration::from_millis(1)))
        .observer(actions.clone())
        .endpoint(memory("layers"))
        .serve()
        .await
        .unwrap();
    let remote = RemoteAgent::builder(server.endpoint())
        .retry(RetryPolicy::never())
        .build()
        .unwrap();
    within(remote.process(Message::user("hi"))).await.unwrap();
    assert_eq!(actions.take(), ["retry repeated flaky"]);
}
