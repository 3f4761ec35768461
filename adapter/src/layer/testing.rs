//! Properties that several layers are tested for.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use agentwire_codec::{Map, Message, ToolResult};
use futures_util::{StreamExt, future, stream};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use super::ConcurrencyLimit;
use crate::{Agent, AgentError, RequestContext, SharedAgent, Tool, agent_fn, stream_fn, tool_fn};

/// Runs requests of all kinds for a random time behind a [`ConcurrencyLimit`], and drops some of
/// them at a random time. Checks that no permit is lost and none is given twice. `wrap` places the
/// agents behind something else.
pub(super) async fn check_permits(seed: u64, wrap: impl Fn(SharedAgent) -> SharedAgent) {
    {
        let mut random = fastrand::Rng::with_seed(seed);
        let limit = random.usize(1..4);
        let layer = ConcurrencyLimit::new(limit).queue(random.usize(0..12));
        let layer = Arc::new(layer.max_wait(Duration::from_millis(random.u64(1..200))));
        let running = Arc::new(Running::default());
        let agent = agent_fn("agent", running.answers());
        let agent = wrap(SharedAgent::new(agent.layer(Arc::clone(&layer))));
        let streams = stream_fn("streams", running.streams());
        let streams = wrap(SharedAgent::new(streams.layer(Arc::clone(&layer))));
        let tool = tool_fn("tool", running.results()).layer(Arc::clone(&layer));
        let (agent, streams, tool) = (Arc::new(agent), Arc::new(streams), Arc::new(tool));
        let mut calls = JoinSet::new();
        for _ in 0..200 {
            sleep(Duration::from_millis(random.u64(0..8))).await;
            let message =
                Message::user(random.u64(0..30)).with_metadata("priority", random.i64(-12..12));
            let context = RequestContext::new();
            let patience = Duration::from_millis(random.u64(0..80));
            match random.u8(0..3) {
                0 => {
                    let agent = Arc::clone(&agent);
                    calls.spawn(async move {
                        let call = agent.process(message, context);
                        let _ = timeout(patience, call).await;
                    });
                }
                1 => {
                    let streams = Arc::clone(&streams);
                    calls.spawn(async move {
                        let call = streams.stream(message, context).count();
                        let _ = timeout(patience, call).await;
                    });
                }
                _ => {
                    let tool = Arc::clone(&tool);
                    let kwargs = Map::from([("ms", message.content)]);
                    calls.spawn(async move {
                        let _ = timeout(patience, tool.execute(kwargs, context)).await;
                    });
                }
            }
            let now = running.now.load(SeqCst);
            assert!(
                now <= layer.running() && layer.running() <= limit,
                "seed {seed}"
            );
            assert!(
                layer.waiting() == 0 || layer.running() == limit,
                "seed {seed}"
            );
        }
        calls.join_all().await;
        assert_eq!((layer.running(), layer.waiting()), (0, 0), "seed {seed}");
        assert!(running.most.load(SeqCst) == limit, "seed {seed}");
    }
}

/// Counts how many handlers run.
#[derive(Default)]
struct Running {
    now: AtomicUsize,
    most: AtomicUsize,
}

struct Run(Arc<Running>);

impl Running {
    fn start(self: &Arc<Self>) -> Run {
        let now = self.now.fetch_add(1, SeqCst) + 1;
        self.most.fetch_max(now, SeqCst);
        Run(Arc::clone(self))
    }

    fn answers(
        self: &Arc<Self>,
    ) -> impl Fn(Message) -> future::BoxFuture<'static, Result<Message, AgentError>> + use<> {
        let running = Arc::clone(self);
        move |message| {
            let running = Arc::clone(&running);
            Box::pin(async move {
                let _run = running.start();
                sleep(Duration::from_millis(message.content.as_u64().unwrap())).await;
                Ok(message)
            })
        }
    }

    fn streams(
        self: &Arc<Self>,
    ) -> impl Fn(Message) -> stream::BoxStream<'static, Result<Message, AgentError>> + use<> {
        let answer = Arc::new(self.answers());
        move |message| {
            let answer = Arc::clone(&answer);
            let chunks = stream::unfold(message, move |message| {
                let answer = answer(message.clone());
                async move { Some((answer.await, message)) }
            });
            Box::pin(chunks.take(3))
        }
    }

    fn results(
        self: &Arc<Self>,
    ) -> impl Fn(Map) -> future::BoxFuture<'static, Result<ToolResult, AgentError>> + use<> {
        let answer = self.answers();
        move |mut kwargs| {
            let answer = answer(Message::user(kwargs.remove("ms").unwrap()));
            Box::pin(async move { Ok(ToolResult::success(answer.await?.content)) })
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, SeqCst);
    }
}
