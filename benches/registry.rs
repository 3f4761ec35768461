//! What a registry inside a process costs, and how that grows with the number of registrations.
//!
//! A heartbeat and a lookup must not grow with it, beyond what memory takes that is too large for a cache. A find and a
//! list look at everything; a sweep at everything whose time has come.

#![allow(
    missing_docs,
    reason = "criterion's macros make undocumented functions"
)]
#![allow(clippy::expect_used, reason = "a bench may stop at the first surprise")]

use std::{hint::black_box, thread, time::Duration};

use agentwire_codec::map;
use agentwire_registry::{
    InstanceRef, LocalRegistry, Query, Registration, Registry, RegistryConfig, WatchScope,
};
use criterion::{BatchSize, BenchmarkId, Criterion, SamplingMode, criterion_group, criterion_main};
use futures_util::FutureExt;

const SIZES: [usize; 4] = [10, 100, 1000, 10_000];

/// How many agents have what is looked for.
const WANTED: usize = 10;

/// The future of a registry in this process is ready at once.
fn ready<T>(work: impl Future<Output = T>) -> T {
    work.now_or_never().expect("it waits for nothing")
}

fn name(number: usize) -> String {
    format!("agent {number:05}")
}

/// Without a runtime, so that no sweeper comes in between.
fn filled(size: usize, lease: Duration) -> LocalRegistry {
    let config = RegistryConfig::new().lease(lease).watch_buffer(1);
    let registry = LocalRegistry::with_config(config).expect("config");
    for number in 0..size {
        let endpoint = format!("unix:///run/agents/{number}.sock");
        let languages = match number % (size / WANTED) {
            0 => vec!["en", "ja"],
            _ => vec!["en"],
        };
        let registration = Registration::new(name(number), endpoint.parse().expect("endpoint"))
            .with_version("1.2.3")
            .with_capabilities(map! {
                "languages": languages,
                "tools": [{"name": "forecast"}, {"name": "history"}],
            })
            .with_metadata("zone", "b");
        ready(registry.register(registration)).expect("register");
    }
    registry
}

fn operations(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("registry");
    for size in SIZES {
        let registry = filled(size, Duration::from_secs(3600));
        // All of them in turn, so that no cache holds the one.
        let mut turn = (0..size).cycle().step_by(7);
        let names: Vec<_> = (0..size).map(name).collect();
        let all: Vec<_> = ready(registry.list())
            .expect("list")
            .iter()
            .map(InstanceRef::from)
            .collect();
        let id = |operation| BenchmarkId::new(operation, size);
        group.bench_function(id("heartbeat"), |bencher| {
            bencher.iter(|| {
                let which = &all[turn.next().unwrap_or_default()];
                ready(registry.heartbeat(black_box(which))).expect("heartbeat");
            });
        });
        group.bench_function(id("lookup"), |bencher| {
            bencher.iter(|| {
                let name = &names[turn.next().unwrap_or_default()];
                ready(registry.lookup(black_box(name))).expect("lookup")
            });
        });
        // What is left is the memory's, for the caller's names as for the entries: one of them is always near.
        let (middle, its_name) = (&all[size / 2], &names[size / 2]);
        group.bench_function(id("heartbeat of one"), |bencher| {
            bencher.iter(|| ready(registry.heartbeat(black_box(middle))).expect("heartbeat"));
        });
        group.bench_function(id("lookup of one"), |bencher| {
            bencher.iter(|| ready(registry.lookup(black_box(its_name))).expect("lookup"));
        });
        let query = Query::new().capability("languages.ja");
        assert_eq!(ready(registry.find(&query)).expect("find").len(), WANTED);
        group.bench_function(id("find 10"), |bencher| {
            bencher.iter(|| ready(registry.find(black_box(&query))).expect("find"));
        });
        group.bench_function(id("list"), |bencher| {
            bencher.iter(|| ready(registry.list()).expect("list"));
        });
    }
    group.finish();
}

/// A watch begins with a sweep of all that is due, and this one has nothing else to do.
fn sweep(registry: &LocalRegistry) {
    drop(registry.watch(WatchScope::name("nobody")));
}

fn sweeps(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("registry");
    group
        .sample_size(10)
        .sampling_mode(SamplingMode::Flat)
        .warm_up_time(Duration::from_millis(1))
        .measurement_time(Duration::from_millis(1));
    for size in SIZES {
        group.bench_function(BenchmarkId::new("sweep of the dead", size), |bencher| {
            let lease = Duration::from_millis(10);
            let over = || {
                let registry = filled(size, lease);
                thread::sleep(lease);
                registry
            };
            bencher.iter_batched_ref(over, |registry| sweep(registry), BatchSize::PerIteration);
        });
        group.bench_function(BenchmarkId::new("sweep of the living", size), |bencher| {
            // Heard of after half of it, so that all are due and all have lived.
            let lease = Duration::from_millis(400);
            let due = || {
                let registry = filled(size, lease);
                thread::sleep(lease / 2);
                for number in 0..size {
                    let which = InstanceRef::new(name(number));
                    ready(registry.heartbeat(&which)).expect("heartbeat");
                }
                thread::sleep(lease / 2);
                registry
            };
            let live = |registry: &mut LocalRegistry| sweep(registry);
            bencher.iter_batched_ref(due, live, BatchSize::PerIteration);
        });
    }
    group.finish();
}

criterion_group!(benches, operations, sweeps);
criterion_main!(benches);
