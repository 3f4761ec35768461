//! Calls an agent directly, behind each layer: the cost of a layer that lets a request pass.

#![allow(
    missing_docs,
    reason = "criterion's macros generate undocumented functions"
)]
#![allow(
    clippy::expect_used,
    reason = "an unexpected result ends the benchmark"
)]

use std::time::Duration;

use agentwire::{
    Agent, Message, RequestContext, SharedAgent, agent_fn,
    layer::{CircuitBreaker, ConcurrencyLimit, Fallback, Hedge, Layer, RateLimit, Retry, Timeout},
};
use criterion::{
    BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime,
};
use futures_util::FutureExt;
use tokio::runtime::Builder;

/// A layer that changes nothing.
struct PassThrough;

impl Layer for PassThrough {}

fn layers(criterion: &mut Criterion) {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let _entered = runtime.enter();
    let mut group = criterion.benchmark_group("layers");
    let group = &mut group;
    measure(group, "none", echo());
    measure(group, "pass_through", echo().layer(PassThrough));
    measure(
        group,
        "pass_through_twice",
        echo().layer(PassThrough).layer(PassThrough),
    );
    // A server erases the type of its agents, and of each layer around them.
    measure(group, "shared", SharedAgent::new(echo()));
    let shared = SharedAgent::new(SharedAgent::new(echo()).layer(PassThrough));
    measure(group, "shared_pass_through", shared);
    measure(group, "timeout", echo().layer(Timeout::new()));
    measure(
        group,
        "concurrency_limit",
        echo().layer(ConcurrencyLimit::new(8)),
    );
    let rate = || RateLimit::new(u32::MAX, Duration::from_millis(1));
    measure(group, "rate_limit", echo().layer(rate()));
    measure(
        group,
        "rate_limit_per_caller",
        echo().layer(rate().per_caller()),
    );
    measure(group, "retry", echo().layer(Retry::new()));
    measure(
        group,
        "circuit_breaker",
        echo().layer(CircuitBreaker::new()),
    );
    measure(group, "fallback", echo().layer(Fallback::to(echo())));
    measure(
        group,
        "hedge_other_messages",
        echo().layer(Hedge::new(|_| false)),
    );
    measure(group, "hedge", echo().layer(Hedge::new(|_| true)));
}

fn echo() -> impl Agent {
    agent_fn("echo", |message: Message| async move { Ok(message) })
}

fn measure(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, agent: impl Agent) {
    let context = RequestContext::new();
    let mut message = Some(Message::user("What is the weather in San Francisco?"));
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            let question = message.take().expect("the last answer");
            let answer = agent.process(question, context.clone()).now_or_never();
            message = Some(answer.expect("at once").expect("the echo"));
        });
    });
}

criterion_group!(benches, layers);
criterion_main!(benches);
