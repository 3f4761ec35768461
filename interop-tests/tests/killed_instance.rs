//! Calls three instances by name, and kills one of them with `kill -9` under load.
//!
//! The killed instance stays registered, as after a crash. Only calls that had been sent to it
//! fail, and their errors name it. Each instance records the calls that it starts and finishes, so
//! the tests compare the outcome of each call from both sides.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use agentwire::{
    Balance, Endpoint, Error, Message, RemoteAgent,
    registry::{LocalRegistry, Registration, Registry},
};
use agentwire_interop_tests::{
    CallLog, Carrier, RustServer, TempEndpoint, TestFailure, TestResult, expect_that, within,
};
use futures_util::future::{join_all, try_join_all};
use tokio::{sync::Notify, task::yield_now};

struct Scenario {
    remote: RemoteAgent,
    victim: Endpoint,
    next: AtomicU64,
    ended: AtomicU64,
    progress: Notify,
    is_over: AtomicBool,
}

/// The outcomes of calls, as the callers saw them.
#[derive(Debug, Default)]
struct Outcomes {
    answered: BTreeSet<u64>,
    /// The calls that failed because the connection to the victim was closed.
    failed: BTreeSet<u64>,
}

impl Scenario {
    async fn call_until_over(&self) -> Result<Outcomes, TestFailure> {
        let mut outcomes = Outcomes::default();
        while !self.is_over.load(Relaxed) {
            let number = self.next.fetch_add(1, Relaxed);
            self.call(number, "slow", &mut outcomes).await?;
            self.ended.fetch_add(1, Relaxed);
            self.progress.notify_one();
        }
        Ok(outcomes)
    }

    /// Makes one call and records its outcome, or fails the test if the outcome is not allowed.
    async fn call(&self, number: u64, behaviour: &str, outcomes: &mut Outcomes) -> TestResult {
        let message = Message::user(number)
            .with_metadata("do", behaviour)
            .with_metadata("ms", number % 5);
        match self.remote.process(message).await {
            Ok(reply) => {
                outcomes.answered.insert(number);
                let is_own = reply.content.as_u64() == Some(number);
                expect_that(is_own, || format!("call {number} got {reply:?}"))
            }
            Err(Error::ConnectionClosed { context, .. })
                if context.endpoint.as_ref() == Some(&self.victim) =>
            {
                outcomes.failed.insert(number);
                Ok(())
            }
            Err(other) => Err(TestFailure::new(format!("call {number}: {other:?}"))),
        }
    }

    /// Makes a call that its instance holds until a `release`.
    async fn held_call(&self, number: u64) -> Result<Outcomes, TestFailure> {
        let mut outcomes = Outcomes::default();
        self.call(number, "hold", &mut outcomes).await?;
        Ok(outcomes)
    }

    async fn calls_ended(&self, count: u64) {
        while self.ended.load(Relaxed) < count {
            self.progress.notified().await;
        }
    }
}

/// The moment of the kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kill {
    /// While calls start and finish.
    Running,
    /// When every caller waits for the victim, and the victim has started every call.
    Frozen,
}

/// Sends a command to an instance, on a connection of its own.
async fn command(instance: &Endpoint, command: &str) -> TestResult {
    let message = Message::user("").with_metadata("do", command);
    RemoteAgent::new(instance)?.process(message).await?;
    Ok(())
}

/// Returns the number of calls that an instance has started and not finished.
fn unfinished(log: &CallLog) -> Result<u64, TestFailure> {
    let calls = log.read()?;
    Ok(calls.values().filter(|call| !call.is_finished).count() as u64)
}

async fn kill_one_of_three(label: &str, carrier: Carrier, shared: usize, kill: Kill) -> TestResult {
    let directory = tempfile::tempdir()?;
    let endpoints = (0..3).map(|_| TempEndpoint::new(carrier));
    let endpoints = endpoints.collect::<Result<Vec<_>, _>>()?;
    let paths: Vec<_> = (0..3)
        .map(|number| directory.path().join(number.to_string()))
        .collect();
    let starting = endpoints.iter().zip(&paths).map(|(endpoint, log)| {
        let program = env!("CARGO_BIN_EXE_interop-agent");
        RustServer::start_recording(program, endpoint.endpoint(), log)
    });
    let mut servers = try_join_all(starting).await?;
    let mut logs: Vec<_> = paths.into_iter().map(CallLog::new).collect();
    let registry = LocalRegistry::new();
    let mut survivors = Vec::<Endpoint>::new();
    for server in &servers {
        let registration = Registration::new("interop", server.endpoint().parse()?);
        registry.register(registration).await?;
        survivors.push(server.endpoint().parse()?);
    }
    let (mut victim, at_victim) = (servers.remove(1), logs.remove(1));
    let scenario = Scenario {
        remote: RemoteAgent::discover(registry, "interop")
            .balance(Balance::RoundRobin)
            .max_in_flight_per_connection(shared)
            .max_connections(32 / shared)
            .build()?,
        victim: survivors.remove(1),
        next: AtomicU64::new(HELD),
        ended: AtomicU64::new(0),
        progress: Notify::new(),
        is_over: AtomicBool::new(false),
    };
    let held = join_all((0..HELD).map(|number| scenario.held_call(number)));
    let load = async {
        // The held calls come first, so that each instance gets an equal share of them.
        while unfinished(&at_victim)? + unfinished(&logs[0])? + unfinished(&logs[1])? < HELD {
            yield_now().await;
        }
        try_join_all((0..CALLERS).map(|_| scenario.call_until_over())).await
    };
    let killing = async {
        scenario.calls_ended(CALLS).await;
        let mut certain = HELD / 3;
        if kill == Kill::Frozen {
            command(&scenario.victim, "freeze").await?;
            certain += CALLERS;
        }
        // Waits until the victim has started the calls that must fail.
        while unfinished(&at_victim)? < certain {
            yield_now().await;
        }
        victim.kill().await?;
        let before = scenario.ended.load(Relaxed);
        scenario.calls_ended(before + CALLS).await;
        scenario.is_over.store(true, Relaxed);
        for survivor in &survivors {
            command(survivor, "release").await?;
        }
        Ok::<(), TestFailure>(())
    };
    let (held, load, ()) = tokio::try_join!(async { Ok(held.await) }, load, killing)?;
    let mut outcomes = Outcomes::default();
    for one in held
        .into_iter()
        .collect::<Result<Vec<_>, _>>()?
        .into_iter()
        .chain(load)
    {
        outcomes.answered.extend(one.answered);
        outcomes.failed.extend(one.failed);
    }
    println!(
        "{label}: {} calls made, {} answered, {} failed: ConnectionClosed",
        scenario.next.load(Relaxed),
        outcomes.answered.len(),
        outcomes.failed.len()
    );
    check_outcomes(&outcomes, &at_victim, &logs, kill)?;
    let stats = scenario.remote.stats();
    expect_that(stats.in_flight == 0 && stats.waiting == 0, || {
        format!("{stats:?}")
    })?;
    scenario.remote.close().await;
    Ok(())
}

/// Compares the outcomes that the callers saw with the records of the instances.
fn check_outcomes(
    outcomes: &Outcomes,
    at_victim: &CallLog,
    elsewhere: &[CallLog],
    kill: Kill,
) -> TestResult {
    let at_victim = at_victim.read()?;
    let elsewhere = elsewhere.iter().map(CallLog::read);
    let elsewhere = elsewhere.collect::<Result<Vec<_>, _>>()?;
    let mut started = BTreeSet::new();
    for (number, call) in elsewhere.iter().flatten().chain(&at_victim) {
        expect_that(call.starts == 1 && started.insert(*number), || {
            format!("call {number} was started twice")
        })?;
    }
    for (number, call) in elsewhere.iter().flatten() {
        expect_that(
            call.is_finished && outcomes.answered.contains(number),
            || format!("call {number} was started by a survivor, but not answered"),
        )?;
    }
    for number in &outcomes.answered {
        expect_that(started.contains(number), || {
            format!("no instance started call {number}, which was answered")
        })?;
    }
    // A call that the victim started and did not finish has no answer, and must not be sent again.
    let cut_off: BTreeSet<u64> = at_victim
        .iter()
        .filter(|(_, call)| !call.is_finished)
        .map(|(number, _)| *number)
        .collect();
    expect_that(cut_off.is_subset(&outcomes.failed), || {
        format!("of the calls {cut_off:?} only {:?} failed", outcomes.failed)
    })?;
    let held = cut_off.iter().filter(|number| **number < HELD).count() as u64;
    expect_that(held == HELD / 3, || {
        format!("{held} calls were held at the victim")
    })?;
    // Any other failed call was in flight: its request or its answer was between client and victim.
    let in_transit = (outcomes.failed.len() - cut_off.len()) as u64;
    let most = match kill {
        Kill::Running => CALLERS,
        Kill::Frozen => 0,
    };
    expect_that(in_transit <= most, || {
        format!("{in_transit} calls failed that the victim had not started")
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_unix_sockets_on_exclusive_connections() -> TestResult {
    within(kill_one_of_three(
        "unix, exclusive",
        Carrier::Unix,
        1,
        Kill::Running,
    ))
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_unix_sockets_on_shared_connections() -> TestResult {
    within(kill_one_of_three(
        "unix, shared",
        Carrier::Unix,
        8,
        Kill::Running,
    ))
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tcp_on_exclusive_connections() -> TestResult {
    within(kill_one_of_three(
        "tcp, exclusive",
        Carrier::Tcp,
        1,
        Kill::Running,
    ))
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tcp_on_shared_connections() -> TestResult {
    within(kill_one_of_three(
        "tcp, shared",
        Carrier::Tcp,
        8,
        Kill::Running,
    ))
    .await
}

/// Exactly the calls that the victim had started fail, because all calls had been sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_victim_started_all_calls() -> TestResult {
    within(kill_one_of_three(
        "tcp, exclusive, frozen",
        Carrier::Tcp,
        1,
        Kill::Frozen,
    ))
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_victim_started_all_calls_on_shared_connections() -> TestResult {
    within(kill_one_of_three(
        "unix, shared, frozen",
        Carrier::Unix,
        8,
        Kill::Frozen,
    ))
    .await
}

const CALLERS: u64 = 24;

/// The number of calls that end before the kill, and again after it.
const CALLS: u64 = 2000;

/// The calls that the instances hold during the kill, the same number at each instance.
const HELD: u64 = 6;
