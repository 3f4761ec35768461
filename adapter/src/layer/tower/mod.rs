//! Adapters between layers and [tower]: layers of tower around agents, and agents as services.
//!
//! - [`TowerLayer`] makes a layer of tower a [`Layer`](super::Layer), for servers and for single
//!   agents and tools.
//! - [`AgentService`] makes an agent a [`Service`](tower_service::Service).
//! - [`ServiceAgent`] makes a service an agent.
//!
//! The adapters keep the contract of tower: a request is passed to the same clone of a service that
//! has said that it is ready, and a clone that is not called is dropped, so that it releases what
//! it has reserved.
//!
//! ```
//! use std::time::Duration;
//!
//! use agentwire::{
//!     Agent, Message, RequestContext, agent_fn,
//!     layer::tower::{AgentService, ServiceAgent, TowerLayer},
//! };
//! use tower::{ServiceBuilder, limit::GlobalConcurrencyLimitLayer, timeout::TimeoutLayer};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), agentwire::AgentError> {
//! let echo = || agent_fn("echo", |message: Message| async move { Ok(message) });
//!
//! // As a layer, which `LocalAgentBuilder::layer` also accepts:
//! let agent = echo().layer(TowerLayer::new(GlobalConcurrencyLimitLayer::new(64)));
//! agent.process(Message::user("hello"), RequestContext::new()).await?;
//!
//! // As a service, and back:
//! let service = ServiceBuilder::new()
//!     .layer(TimeoutLayer::new(Duration::from_secs(5)))
//!     .service(AgentService::new(echo()));
//! let agent = ServiceAgent::new("echo", service);
//! agent.process(Message::user("hello"), RequestContext::new()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Streams
//!
//! The response of a service to [`Payload::Stream`] is a stream that has not started. A layer of
//! tower that holds a permit or measures a time until the response is there does not see the
//! chunks. Use the layers of this crate for limits that must hold until a stream ends.
//!
//! # Errors
//!
//! [`AgentError`](crate::AgentError)s pass through tower unchanged. Other errors, such as those of
//! tower's own layers, have the code `INTERNAL_ERROR`, unless
//! [`map_error`](TowerLayer::map_error) converts them.
//!
//! [tower]: https://docs.rs/tower

mod agent;
mod exchange;
mod layer;
mod service;

pub use self::{
    agent::ServiceAgent,
    exchange::{BoxError, Payload, Reply, Request},
    layer::{Target, TowerLayer},
    service::AgentService,
};

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering::SeqCst},
        },
        task::{Context, Poll},
        time::Duration,
    };

    use agentwire_codec::{ErrorCode, Map, Message, ToolResult, map};
    use futures_util::{FutureExt, StreamExt, stream};
    use tokio::{task::JoinSet, time::timeout};
    use tower::{
        Service, ServiceBuilder,
        buffer::BufferLayer,
        limit::{ConcurrencyLimitLayer, GlobalConcurrencyLimitLayer},
        load_shed::{LoadShedLayer, error::Overloaded},
        timeout::{TimeoutLayer, error::Elapsed},
    };

    use super::*;
    use crate::{
        Agent, AgentError, Error, LocalAgent, RemoteAgent, RequestContext, SharedAgent, Tool,
        agent_fn, layer::testing::check_permits, stream_fn, tool_fn,
    };

    const MILLI: Duration = Duration::from_millis(1);

    /// A service that demands the contract of tower: `call` only after `poll_ready` of the same
    /// clone, and only once. It becomes ready at its second poll, and counts reservations.
    struct Strict<S> {
        inner: S,
        state: State,
        reserved: Arc<AtomicUsize>,
    }

    #[derive(PartialEq)]
    enum State {
        New,
        Polled,
        Ready,
    }

    impl<S: Clone> Clone for Strict<S> {
        fn clone(&self) -> Self {
            Self {
                inner: self.inner.clone(),
                state: State::New,
                reserved: Arc::clone(&self.reserved),
            }
        }
    }

    impl<S: Service<Request>> Service<Request> for Strict<S> {
        type Response = S::Response;
        type Error = S::Error;
        type Future = S::Future;

        fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
            if self.state == State::New {
                self.state = State::Polled;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if self.state == State::Polled {
                self.state = State::Ready;
                self.reserved.fetch_add(1, SeqCst);
            }
            self.inner.poll_ready(cx)
        }

        fn call(&mut self, request: Request) -> S::Future {
            assert!(self.state == State::Ready, "called before it was ready");
            self.state = State::New;
            self.reserved.fetch_sub(1, SeqCst);
            self.inner.call(request)
        }
    }

    impl<S> Drop for Strict<S> {
        fn drop(&mut self) {
            if self.state == State::Ready {
                self.reserved.fetch_sub(1, SeqCst);
            }
        }
    }

    fn strict<S>(reserved: &Arc<AtomicUsize>) -> impl Fn(S) -> Strict<S> + Clone + use<S> {
        let reserved = Arc::clone(reserved);
        move |inner| Strict {
            inner,
            state: State::New,
            reserved: Arc::clone(&reserved),
        }
    }

    fn echo() -> SharedAgent {
        SharedAgent::new(agent_fn(
            "echo",
            |message: Message| async move { Ok(message) },
        ))
    }

    fn count() -> SharedAgent {
        SharedAgent::new(stream_fn("count", |_: Message| {
            stream::iter((0..3).map(|count| Ok(Message::agent(count))))
        }))
    }

    /// All adapters at once: the agent as a service, in two layers of tower, as an agent, in a
    /// layer of tower.
    fn there_and_back(agent: SharedAgent, reserved: &Arc<AtomicUsize>) -> SharedAgent {
        let name = agent.name().to_owned();
        let service = ServiceBuilder::new()
            .layer(tower::layer::layer_fn(strict(reserved)))
            .layer(GlobalConcurrencyLimitLayer::new(1000))
            .layer(tower::layer::layer_fn(strict(reserved)))
            .service(AgentService::new(agent));
        let outer = TowerLayer::new(tower::layer::layer_fn(strict(reserved)));
        SharedAgent::new(ServiceAgent::new(name, service).layer(outer))
    }

    #[tokio::test(start_paused = true)]
    async fn a_clone_is_called_only_when_it_is_ready_itself() {
        let reserved = Arc::new(AtomicUsize::new(0));
        let agent = there_and_back(echo(), &reserved);
        let answer = agent
            .process(Message::user(1), RequestContext::new())
            .await
            .unwrap();
        assert_eq!(answer.content.as_i64(), Some(1));
        let streams = there_and_back(count(), &reserved);
        let answers = streams.stream(Message::user(1), RequestContext::new());
        assert_eq!(
            answers
                .filter(|one| std::future::ready(one.is_ok()))
                .count()
                .await,
            3
        );
        // A future that is dropped after any number of polls releases what it has reserved.
        for polls in 0..20 {
            let mut call = Box::pin(agent.process(Message::user(1), RequestContext::new()));
            for _ in 0..polls {
                if call.as_mut().now_or_never().is_some() {
                    break;
                }
            }
            drop(call);
            assert_eq!(reserved.load(SeqCst), 0, "after {polls} polls");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn permits_of_layers_survive_tower_and_back() {
        let reserved = Arc::new(AtomicUsize::new(0));
        for seed in 0..20 {
            check_permits(seed, |agent| there_and_back(agent, &reserved)).await;
            assert_eq!(reserved.load(SeqCst), 0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_of_tower_holds_and_is_shared_by_agents_and_tools() {
        let running = Arc::new(AtomicUsize::new(0));
        let most = Arc::new(AtomicUsize::new(0));
        let work = {
            let (running, most) = (Arc::clone(&running), Arc::clone(&most));
            move || {
                let (running, most) = (Arc::clone(&running), Arc::clone(&most));
                async move {
                    most.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
                    // Without a guard, so that a dropped call would be seen.
                    tokio::time::sleep(10 * MILLI).await;
                    running.fetch_sub(1, SeqCst);
                }
            }
        };
        let layer = Arc::new(TowerLayer::new(GlobalConcurrencyLimitLayer::new(3)));
        let agent = agent_fn("a", {
            let work = work.clone();
            move |message: Message| work().map(|()| Ok(message))
        });
        let tool = tool_fn("t", move |_: Map| {
            work().map(|()| Ok(ToolResult::success(1)))
        });
        let agent = Arc::new(agent.layer(Arc::clone(&layer)));
        let tool = Arc::new(tool.layer(layer));
        let mut calls = JoinSet::new();
        for call in 0..60 {
            let (agent, tool) = (Arc::clone(&agent), Arc::clone(&tool));
            calls.spawn(async move {
                let context = RequestContext::new();
                match call % 3 {
                    0 => drop(agent.process(Message::user(1), context).await.unwrap()),
                    1 => drop(tool.execute(Map::new(), context).await.unwrap()),
                    // Waiters that leave.
                    _ => drop(timeout(MILLI, agent.process(Message::user(1), context)).await),
                }
            });
        }
        calls.join_all().await;
        // The futures of the first waiters that left were running.
        assert!(most.load(SeqCst) >= 3);
        let before = running.load(SeqCst);
        let mut calls = pin!(
            stream::iter(0..9)
                .map(|_| { agent.process(Message::user(1), RequestContext::new()) })
                .buffer_unordered(9)
                .count()
        );
        most.store(0, SeqCst);
        assert_eq!(calls.as_mut().await, 9);
        assert_eq!(most.load(SeqCst) - before, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn errors_pass_through_layers_that_erase_them() {
        let failing = agent_fn("failing", |message: Message| async move {
            if message.text() == Some("hang") {
                std::future::pending::<()>().await;
            }
            let details = map! {"city": "Oslo"};
            Err(AgentError::with_code("NO_SUCH_CITY", "try another").with_details(details))
        });
        let service = ServiceBuilder::new()
            .layer(BufferLayer::new(16))
            .layer(LoadShedLayer::new())
            .layer(ConcurrencyLimitLayer::new(1))
            .layer(TimeoutLayer::new(50 * MILLI))
            .service(AgentService::new(failing));
        let agent = ServiceAgent::new("failing", service).map_error(|error| {
            if error.is::<Elapsed>() {
                AgentError::with_code(ErrorCode::AGENT_TIMEOUT, "tower says so")
            } else {
                AgentError::with_code(ErrorCode::AGENT_UNAVAILABLE, error.to_string())
            }
        });
        let call = |text: &str| agent.process(Message::user(text), RequestContext::new());
        let error = call("fail").await.unwrap_err();
        assert_eq!(error.code().as_str(), "NO_SUCH_CITY");
        assert_eq!(error.details()["city"], "Oslo");
        let (first, second) = tokio::join!(call("hang"), call("fail"));
        assert_eq!(*first.unwrap_err().code(), ErrorCode::AGENT_TIMEOUT);
        assert_eq!(second.unwrap_err().message(), Overloaded::new().to_string());
    }

    #[tokio::test]
    async fn the_error_of_a_call_keeps_its_kind_through_tower() {
        let nowhere = RemoteAgent::builder("memory://nowhere").timeout(Duration::ZERO);
        let layer = TowerLayer::new(ConcurrencyLimitLayer::new(1));
        let agent = nowhere.build().unwrap().layer(layer);
        let error = agent.process(Message::user(1), RequestContext::new()).await;
        assert!(
            error
                .unwrap_err()
                .call_error()
                .is_some_and(Error::is_retryable)
        );
    }

    #[tokio::test]
    async fn a_server_has_a_layer_of_tower_around_all_agents_and_tools() {
        let tool = tool_fn("t", |_: Map| async { Ok(ToolResult::success(7)) });
        let server = LocalAgent::builder(echo())
            .agent(count())
            .tool(tool)
            .layer(TowerLayer::new(ConcurrencyLimitLayer::new(8)))
            .endpoint("memory://tower-server")
            .serve()
            .await
            .unwrap();
        let remote = |name: &str| {
            let remote = RemoteAgent::builder(server.endpoint()).name(name);
            remote.build().unwrap()
        };
        let answer = remote("echo").process(Message::user(1)).await.unwrap();
        assert_eq!(answer.content.as_i64(), Some(1));
        assert_eq!(remote("count").stream(Message::user(1)).count().await, 3);
        let result = remote("echo").execute("t", Map::new()).await.unwrap();
        assert_eq!(result.data.as_i64(), Some(7));
    }
}
