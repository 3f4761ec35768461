//! Three instances of an agent are called by name, and one is killed with `kill -9` under load. It stays registered,
//! as after a crash. No call is lost that had not been sent, and those that had name the instance.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use agentwire::{
    Balance, Endpoint, Error, Message, RemoteAgent,
    registry::{LocalRegistry, Registration, Registry},
};
use agentwire_interop_tests::{Carrier, Failure, Outcome, RustServer, Site, expect_that, within};
use futures_util::future::{join_all, try_join_all};
use tokio::sync::Notify;

const CALLERS: u64 = 24;

/// How many calls end before the kill, and how many after it.
const CALLS: u64 = 2000;

/// Calls that are at the instances when one is killed, as many at each.
const HELD: u64 = 6;

struct Stage {
    remote: RemoteAgent,
    killed: Endpoint,
    next: AtomicU64,
    ended: AtomicU64,
    progress: Notify,
    over: AtomicBool,
}

/// How a call ended.
enum End {
    Answered(u64),
    Failed(&'static str),
}

impl Stage {
    async fn call_until_over(&self) -> Result<Vec<End>, Failure> {
        let mut ends = Vec::new();
        while !self.over.load(Relaxed) {
            let number = self.next.fetch_add(1, Relaxed);
            ends.push(self.call(number, number % 5).await?);
            self.ended.fetch_add(1, Relaxed);
            self.progress.notify_one();
        }
        Ok(ends)
    }

    /// One call, which takes so long at the agent. What must not be is a failure of the test.
    async fn call(&self, number: u64, ms: u64) -> Result<End, Failure> {
        let message = Message::user(number)
            .with_metadata("do", "slow")
            .with_metadata("ms", ms);
        match self.remote.process(message).await {
            Ok(reply) => {
                let is_own = reply.content.as_u64() == Some(number);
                expect_that(is_own, || format!("call {number} got {reply:?}"))?;
                Ok(End::Answered(number))
            }
            Err(Error::ConnectionClosed { site, .. }) if site.endpoint == self.killed => {
                Ok(End::Failed("ConnectionClosed"))
            }
            Err(other) => Err(Failure::new(format!("call {number}: {other:?}"))),
        }
    }

    async fn calls_ended(&self, count: u64) {
        while self.ended.load(Relaxed) < count {
            self.progress.notified().await;
        }
    }
}

async fn kill_one_of_three(label: &str, carrier: Carrier, max_in_flight: usize) -> Outcome {
    let sites = (0..3).map(|_| Site::new(carrier));
    let sites = sites.collect::<Result<Vec<_>, _>>()?;
    let starting = sites
        .iter()
        .map(|site| RustServer::start(env!("CARGO_BIN_EXE_interop-agent"), site.endpoint()));
    let mut servers = try_join_all(starting).await?;
    let registry = LocalRegistry::new();
    for server in &servers {
        let registration = Registration::new("interop", server.endpoint().parse()?);
        registry.register(registration).await?;
    }
    let victim = servers.remove(1);
    let stage = Stage {
        remote: RemoteAgent::discover(registry, "interop")
            .balance(Balance::RoundRobin)
            .max_in_flight_per_connection(max_in_flight)
            .max_connections(32 / max_in_flight)
            .build()?,
        killed: victim.endpoint().parse()?,
        next: AtomicU64::new(HELD),
        ended: AtomicU64::new(0),
        progress: Notify::new(),
        over: AtomicBool::new(false),
    };
    // One after the other, so that each instance has its share of them.
    let held = join_all((0..HELD).map(|number| stage.call(number, 2000)));
    let load = try_join_all((0..CALLERS).map(|_| stage.call_until_over()));
    let trouble = async {
        stage.calls_ended(CALLS).await;
        victim.kill().await?;
        stage.calls_ended(2 * CALLS).await;
        stage.over.store(true, Relaxed);
        Ok::<(), Failure>(())
    };
    let (held, load, ()) = tokio::try_join!(async { Ok(held.await) }, load, trouble)?;
    let held = held.into_iter().collect::<Result<Vec<_>, _>>()?;

    let made = stage.next.load(Relaxed);
    let mut answered = BTreeSet::new();
    let mut failed = BTreeMap::<_, u64>::new();
    for end in held.into_iter().chain(load.into_iter().flatten()) {
        match end {
            End::Answered(number) => expect_that(answered.insert(number), || {
                format!("call {number} was answered twice")
            })?,
            End::Failed(how) => *failed.entry(how).or_default() += 1,
        }
    }
    println!(
        "{label}: {made} calls made, {} answered, failed: {failed:?}",
        answered.len()
    );
    let failed: u64 = failed.into_values().sum();
    expect_that(answered.len() as u64 + failed == made, || {
        "a call is missing".to_owned()
    })?;
    // Those that were held there had been seen for sure; no more can have been than there were at the time.
    let fewest = HELD / 3;
    expect_that((fewest..=CALLERS + HELD).contains(&failed), || {
        format!("{failed} calls failed")
    })?;
    let stats = stage.remote.stats();
    expect_that(stats.in_flight == 0 && stats.waiting == 0, || {
        format!("{stats:?}")
    })?;
    stage.remote.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_unix_sockets_on_connections_of_their_own() -> Outcome {
    within(kill_one_of_three("unix, alone", Carrier::Unix, 1)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_unix_sockets_on_shared_connections() -> Outcome {
    within(kill_one_of_three("unix, shared", Carrier::Unix, 8)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tcp_on_connections_of_their_own() -> Outcome {
    within(kill_one_of_three("tcp, alone", Carrier::Tcp, 1)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tcp_on_shared_connections() -> Outcome {
    within(kill_one_of_three("tcp, shared", Carrier::Tcp, 8)).await
}
