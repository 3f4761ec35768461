//! Measures an in-process registry, by the number of registrations.
//!
//! Heartbeats and lookups must take constant time, apart from cache misses. `find` and `list` visit
//! every registration; a sweep visits every registration whose lease may have expired.

#![allow(
    missing_docs,
    reason = "criterion's macros generate undocumented functions"
)]
#![allow(
    clippy::expect_used,
    reason = "an unexpected result ends the benchmark"
)]

use std::{hint::black_box, thread, time::Duration};

use agentwire_codec::map;
use agentwire_registry::{
    InstanceRef, LocalRegistry, Query, Registration, Registry, RegistryConfig, WatchScope,
};
use criterion::{BatchSize, BenchmarkId, Criterion, SamplingMode, criterion_group, criterion_main};
use futures_util::FutureExt;

/// Returns the output of a future of an in-process registry, which is ready immediately.
fn ready<T>(work: impl Future<Output = T>) -> T {
    work.now_or_never().expect("the future is ready")
}

fn name(number: usize) -> String {
    format!("agent {number:05}")
}

/// Fills a registry outside of a runtime, so that no sweeper runs.
fn filled(size: usize, lease: Duration) -> LocalRegistry {
    let config = RegistryConfig::new().lease(lease).watch_buffer(1);
    let registry = LocalRegistry::with_config(config).expect("config");
    for number in 0..size {
        let endpoint = format!("unix:///run/agents/{number}.sock");
        let languages = match number % (size / MATCHING) {
            0 => vec!["en", "ja"],
            _ => vec!["en"],
        };
        let registration = Registration::new(name(number), endpoint.parse().expect("endpoint"))
            .with_instance("")
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
        // Visit all registrations in turn, so that none stays in the cache.
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
        // Always the same registration, which stays in the cache. The difference from the numbers
        // above is the cost of memory access.
        let (middle, its_name) = (&all[size / 2], &names[size / 2]);
        group.bench_function(id("heartbeat of one"), |bencher| {
            bencher.iter(|| ready(registry.heartbeat(black_box(middle))).expect("heartbeat"));
        });
        group.bench_function(id("lookup of one"), |bencher| {
            bencher.iter(|| ready(registry.lookup(black_box(its_name))).expect("lookup"));
        });
        let query = Query::new().capability("languages.ja");
        assert_eq!(ready(registry.find(&query)).expect("find").len(), MATCHING);
        group.bench_function(id("find 10"), |bencher| {
            bencher.iter(|| ready(registry.find(black_box(&query))).expect("find"));
        });
        group.bench_function(id("list"), |bencher| {
            bencher.iter(|| ready(registry.list()).expect("list"));
        });
    }
    group.finish();
}

/// Sweeps the registry: a new watch begins with a sweep, and this one matches no registration.
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
            let expired = || {
                let registry = filled(size, lease);
                thread::sleep(lease);
                registry
            };
            bencher.iter_batched_ref(expired, |registry| sweep(registry), BatchSize::PerIteration);
        });
        group.bench_function(BenchmarkId::new("sweep of the living", size), |bencher| {
            // All registrations are due but alive: each sent a heartbeat after half of the lease.
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

const SIZES: [usize; 4] = [10, 100, 1000, 10_000];

/// How many registrations match the query of `find`.
const MATCHING: usize = 10;

criterion_group!(benches, operations, sweeps);
criterion_main!(benches);
