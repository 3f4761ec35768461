//! Three instances of an agent are called by name, and one is killed with `kill -9` under load. It stays registered,
//! as after a crash. No call is lost that had not been sent, and those that had name the instance.
//!
//! Each instance notes which calls it begins and ends. So it is seen from both sides what became of each call.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use agentwire::{
    Balance, Endpoint, Error, Message, RemoteAgent,
    registry::{LocalRegistry, Registration, Registry},
};
use agentwire_interop_tests::{
    Carrier, Failure, Notes, Outcome, RustServer, Site, expect_that, within,
};
use futures_util::future::{join_all, try_join_all};
use tokio::{sync::Notify, task::yield_now};

const CALLERS: u64 = 24;

/// How many calls end before the kill, and how many after it.
const CALLS: u64 = 2000;

/// Calls that are held at the instances when one is killed, as many at each.
const HELD: u64 = 6;

struct Stage {
    remote: RemoteAgent,
    victim: Endpoint,
    next: AtomicU64,
    ended: AtomicU64,
    progress: Notify,
    over: AtomicBool,
}

/// What the callers were told of their calls.
#[derive(Debug, Default)]
struct Told {
    answered: BTreeSet<u64>,
    /// That the connection to the victim was closed.
    failed: BTreeSet<u64>,
}

impl Stage {
    async fn call_until_over(&self) -> Result<Told, Failure> {
        let mut told = Told::default();
        while !self.over.load(Relaxed) {
            let number = self.next.fetch_add(1, Relaxed);
            self.call(number, "slow", &mut told).await?;
            self.ended.fetch_add(1, Relaxed);
            self.progress.notify_one();
        }
        Ok(told)
    }

    /// One call. What must not be is a failure of the test.
    async fn call(&self, number: u64, what: &str, told: &mut Told) -> Outcome {
        let message = Message::user(number)
            .with_metadata("do", what)
            .with_metadata("ms", number % 5);
        match self.remote.process(message).await {
            Ok(reply) => {
                told.answered.insert(number);
                let is_own = reply.content.as_u64() == Some(number);
                expect_that(is_own, || format!("call {number} got {reply:?}"))
            }
            Err(Error::ConnectionClosed { site, .. }) if site.endpoint == self.victim => {
                told.failed.insert(number);
                Ok(())
            }
            Err(other) => Err(Failure::new(format!("call {number}: {other:?}"))),
        }
    }

    /// A call that waits at its instance until it is released.
    async fn held(&self, number: u64) -> Result<Told, Failure> {
        let mut told = Told::default();
        self.call(number, "hold", &mut told).await?;
        Ok(told)
    }

    async fn calls_ended(&self, count: u64) {
        while self.ended.load(Relaxed) < count {
            self.progress.notified().await;
        }
    }
}

/// When the victim is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kill {
    /// While calls come and go.
    Running,
    /// When every caller waits for it, and it has begun on every call.
    Frozen,
}

/// Tells an instance what to do, beside the calls.
async fn tell(instance: &Endpoint, what: &str) -> Outcome {
    let message = Message::user("").with_metadata("do", what);
    RemoteAgent::new(instance)?.process(message).await?;
    Ok(())
}

/// How many calls it has begun and not ended.
fn open(notes: &Notes) -> Result<u64, Failure> {
    let calls = notes.read()?;
    Ok(calls.values().filter(|(_, is_ended)| !is_ended).count() as u64)
}

async fn kill_one_of_three(label: &str, carrier: Carrier, shared: usize, kill: Kill) -> Outcome {
    let directory = tempfile::tempdir()?;
    let sites = (0..3).map(|_| Site::new(carrier));
    let sites = sites.collect::<Result<Vec<_>, _>>()?;
    let paths: Vec<_> = (0..3)
        .map(|number| directory.path().join(number.to_string()))
        .collect();
    let starting = sites.iter().zip(&paths).map(|(site, notes)| {
        let program = env!("CARGO_BIN_EXE_interop-agent");
        RustServer::start_witness(program, site.endpoint(), notes)
    });
    let mut servers = try_join_all(starting).await?;
    let mut notes: Vec<_> = paths.into_iter().map(Notes::new).collect();
    let registry = LocalRegistry::new();
    let mut survivors = Vec::<Endpoint>::new();
    for server in &servers {
        let registration = Registration::new("interop", server.endpoint().parse()?);
        registry.register(registration).await?;
        survivors.push(server.endpoint().parse()?);
    }
    let (victim, at_victim) = (servers.remove(1), notes.remove(1));
    let stage = Stage {
        remote: RemoteAgent::discover(registry, "interop")
            .balance(Balance::RoundRobin)
            .max_in_flight_per_connection(shared)
            .max_connections(32 / shared)
            .build()?,
        victim: survivors.remove(1),
        next: AtomicU64::new(HELD),
        ended: AtomicU64::new(0),
        progress: Notify::new(),
        over: AtomicBool::new(false),
    };
    let held = join_all((0..HELD).map(|number| stage.held(number)));
    let load = async {
        // First of all, so that each instance has its share of those that are held.
        while open(&at_victim)? + open(&notes[0])? + open(&notes[1])? < HELD {
            yield_now().await;
        }
        try_join_all((0..CALLERS).map(|_| stage.call_until_over())).await
    };
    let trouble = async {
        stage.calls_ended(CALLS).await;
        let mut certain = HELD / 3;
        if kill == Kill::Frozen {
            tell(&stage.victim, "freeze").await?;
            certain += CALLERS;
        }
        // It has begun on those that must fail, whatever else is under way.
        while open(&at_victim)? < certain {
            yield_now().await;
        }
        victim.kill().await?;
        let before = stage.ended.load(Relaxed);
        stage.calls_ended(before + CALLS).await;
        stage.over.store(true, Relaxed);
        for survivor in &survivors {
            tell(survivor, "release").await?;
        }
        Ok::<(), Failure>(())
    };
    let (held, load, ()) = tokio::try_join!(async { Ok(held.await) }, load, trouble)?;
    let mut told = Told::default();
    for one in held
        .into_iter()
        .collect::<Result<Vec<_>, _>>()?
        .into_iter()
        .chain(load)
    {
        told.answered.extend(one.answered);
        told.failed.extend(one.failed);
    }
    println!(
        "{label}: {} calls made, {} answered, {} failed: ConnectionClosed",
        stage.next.load(Relaxed),
        told.answered.len(),
        told.failed.len()
    );
    judge(&told, &at_victim, &notes, kill)?;
    let stats = stage.remote.stats();
    expect_that(stats.in_flight == 0 && stats.waiting == 0, || {
        format!("{stats:?}")
    })?;
    stage.remote.close().await;
    Ok(())
}

/// Compares what the callers were told with what the instances did.
fn judge(told: &Told, at_victim: &Notes, elsewhere: &[Notes], kill: Kill) -> Outcome {
    let at_victim = at_victim.read()?;
    let elsewhere = elsewhere.iter().map(Notes::read);
    let elsewhere = elsewhere.collect::<Result<Vec<_>, _>>()?;
    let mut begun = BTreeSet::new();
    for (number, (times, _)) in elsewhere.iter().flatten().chain(&at_victim) {
        expect_that(*times == 1 && begun.insert(*number), || {
            format!("call {number} was worked on twice")
        })?;
    }
    for (number, (_, is_ended)) in elsewhere.iter().flatten() {
        expect_that(*is_ended && told.answered.contains(number), || {
            format!("call {number} was worked on, but not answered, by one that lives")
        })?;
    }
    for number in &told.answered {
        expect_that(begun.contains(number), || {
            format!("nobody answered {number}")
        })?;
    }
    // Whatever the victim had begun and not ended cannot have been answered, and was not sent again.
    let cut_off: BTreeSet<u64> = at_victim
        .iter()
        .filter(|(_, (_, is_ended))| !is_ended)
        .map(|(number, _)| *number)
        .collect();
    expect_that(cut_off.is_subset(&told.failed), || {
        format!("of {cut_off:?} only {:?} failed", told.failed)
    })?;
    let held = cut_off.iter().filter(|number| **number < HELD).count() as u64;
    expect_that(held == HELD / 3, || {
        format!("{held} were held at the victim")
    })?;
    // Those that failed beside them had left the client, and were on their way to the victim or back.
    let on_their_way = (told.failed.len() - cut_off.len()) as u64;
    let most = match kill {
        Kill::Running => CALLERS,
        Kill::Frozen => 0,
    };
    expect_that(on_their_way <= most, || {
        format!("{on_their_way} failed that the victim did not work on")
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_unix_sockets_on_connections_of_their_own() -> Outcome {
    within(kill_one_of_three(
        "unix, alone",
        Carrier::Unix,
        1,
        Kill::Running,
    ))
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_unix_sockets_on_shared_connections() -> Outcome {
    within(kill_one_of_three(
        "unix, shared",
        Carrier::Unix,
        8,
        Kill::Running,
    ))
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tcp_on_connections_of_their_own() -> Outcome {
    within(kill_one_of_three(
        "tcp, alone",
        Carrier::Tcp,
        1,
        Kill::Running,
    ))
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tcp_on_shared_connections() -> Outcome {
    within(kill_one_of_three(
        "tcp, shared",
        Carrier::Tcp,
        8,
        Kill::Running,
    ))
    .await
}

/// Then it is known which calls had been sent: these fail, and no other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_it_has_begun_on_all_calls() -> Outcome {
    within(kill_one_of_three(
        "tcp, alone, frozen",
        Carrier::Tcp,
        1,
        Kill::Frozen,
    ))
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_it_has_begun_on_all_calls_of_shared_connections() -> Outcome {
    within(kill_one_of_three(
        "unix, shared, frozen",
        Carrier::Unix,
        8,
        Kill::Frozen,
    ))
    .await
}
