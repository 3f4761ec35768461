//! One round: clients of every kind, and the failures that they meet.

use std::{sync::Arc, time::Duration};

use agentwire::{
    Endpoint, Error, Format, Message, RemoteAgent, RemoteAgentBuilder, RetryPolicy,
    registry::{LocalRegistry, Registration, Registry, RegistryConfig},
};
use agentwire_interop_tests::{
    PythonCallers, Relay, RustServer, Target, TestFailure, TestResult, expect,
};
use fastrand::Rng;
use tokio::task::JoinSet;

use crate::{
    HANG_LIMIT,
    caller::{Caller, Exposure},
    dead_address::DeadAddress,
    failures::cause_failures,
    half_close::{Ending, connect_until_over},
    progress::{Extent, Progress},
    servers::Servers,
    tally::{Tallies, Tally},
};

/// Makes calls and causes failures until the round is over.
pub(crate) async fn round(
    servers: &mut Servers,
    seed: u64,
    extent: Extent,
) -> Result<Tallies, TestFailure> {
    let network = Network::start(servers, seed).await?;
    let groups = network.groups()?;
    let progress = Arc::new(Progress::new(extent));
    let mut random = Rng::with_seed(seed);

    let mut callers = JoinSet::new();
    for group in &groups {
        for number in 0..group.callers {
            let caller = Caller {
                remote: group.remote.clone(),
                exposure: group.exposure,
                number,
                random: random.fork(),
            };
            let (name, progress) = (group.name, Arc::clone(&progress));
            callers.spawn(async move { (name, caller.call_until_over(&progress).await) });
        }
    }
    for endpoint in [&network.unix, &network.tcp] {
        for (name, ending) in [
            ("half-closing peers", Ending::HalfClose),
            ("leaving peers", Ending::Reset),
        ] {
            let (endpoint, random) = (endpoint.clone(), random.fork());
            let progress = Arc::clone(&progress);
            callers.spawn(async move {
                let tally = connect_until_over(endpoint, ending, random, &progress).await;
                (name, tally)
            });
        }
    }
    let python_callers = network.python_callers(seed)?;

    let calling = async {
        let mut tallies = Tallies::default();
        while let Some(ended) = callers.join_next().await {
            let (name, tally) = ended?;
            tallies.add(name, tally);
        }
        progress.finish();
        Ok(tallies)
    };
    let mortal = (&mut servers.rust, &mut servers.python);
    let failing = cause_failures(mortal, &network.relays, &progress, random.fork());
    let (mut tallies, failures) = tokio::try_join!(calling, failing)?;
    for callers in python_callers {
        let mut tally = Tally::default();
        tally.count_python(callers.finish().await?);
        tallies.add("Python callers", tally);
    }
    for group in groups {
        group.recovers().await?;
    }
    println!("{failures}");
    for relay in &network.relays {
        println!("connections to {}: {:?}", relay.endpoint(), relay.fates());
    }
    Ok(tallies)
}

/// The relays, and the endpoints that clients connect to.
struct Network {
    unix: Endpoint,
    tcp: Endpoint,
    /// Relays to the steady servers, to the mortal servers and to the steady Python server.
    relays: [Relay; 5],
    registry: LocalRegistry,
    _dead: Vec<DeadAddress>,
    _directory: tempfile::TempDir,
}

impl Network {
    async fn start(servers: &Servers, seed: u64) -> Result<Self, TestFailure> {
        let directory = tempfile::tempdir()?;
        let near = |name| format!("unix://{}/{name}", directory.path().display());
        let [unix, tcp] = servers.steady.each_ref().map(RustServer::endpoint);
        let relays = [
            Relay::start(&near("steady"), unix, seed).await?,
            Relay::start(ANY_PORT, tcp, seed ^ 1).await?,
            Relay::start(&near("rust"), servers.rust.endpoint(), seed ^ 2).await?,
            Relay::start(ANY_PORT, servers.python.endpoint(), seed ^ 3).await?,
            Relay::start(ANY_PORT, servers.steady_python.endpoint(), seed ^ 4).await?,
        ];
        let (unix, tcp) = (unix.parse()?, tcp.parse::<Endpoint>()?);
        let mut dead = vec![DeadAddress::new(([127, 0, 0, 1], 0).into())?];
        // The TCP server listens on 127.0.0.1. Where `localhost` has an IPv6 address too, that one
        // is dead. A machine without IPv6 cannot have it.
        dead.extend(DeadAddress::new(
            (std::net::Ipv6Addr::LOCALHOST, port(&tcp)).into(),
        ));

        let config = RegistryConfig::new().lease(Duration::from_secs(24 * 3600));
        let registry = LocalRegistry::with_config(config)?;
        for endpoint in [
            relays[1].endpoint().clone(),
            relays[2].endpoint().clone(),
            dead[0].endpoint()?,
        ] {
            registry
                .register(Registration::new("interop", endpoint))
                .await?;
        }
        Ok(Self {
            unix,
            tcp,
            relays,
            registry,
            _dead: dead,
            _directory: directory,
        })
    }

    fn groups(&self) -> Result<Vec<Group>, Error> {
        let [to_unix, to_tcp, to_rust, to_python, to_steady_python] =
            self.relays.each_ref().map(Relay::endpoint);
        let localhost = format!("tcp://localhost:{}", port(&self.tcp));
        let (json, msgpack) = (Format::Json, Format::MessagePack);
        let own = |endpoint| configured(RemoteAgent::builder(endpoint), 1);
        let shared = |endpoint| configured(RemoteAgent::builder(endpoint), 8);
        let by_name = |shared| {
            let builder = RemoteAgent::discover(self.registry.clone(), "interop");
            configured(builder, shared).connect_timeout(Duration::from_millis(100))
        };
        let safe = |group: Group| Group {
            exposure: Exposure::Safe,
            ..group
        };
        let group = Group::new;
        Ok(vec![
            safe(group(
                "untouched, own connections",
                4,
                own(&self.unix).build()?,
            )),
            safe(group(
                "untouched, shared connections, two addresses",
                4,
                configured(RemoteAgent::builder(localhost.as_str()), 8)
                    .format(msgpack)
                    .build()?,
            )),
            group("own connections, JSON, unix", 12, own(to_unix).build()?),
            group(
                "own connections, MessagePack, tcp",
                12,
                own(to_tcp).format(msgpack).build()?,
            ),
            group(
                "shared connections, JSON, tcp",
                12,
                shared(to_tcp).format(json).build()?,
            ),
            group(
                "shared connections, MessagePack, unix",
                12,
                shared(to_unix).format(msgpack).build()?,
            ),
            group(
                "server is killed, own connections",
                8,
                own(to_rust).build()?,
            ),
            group(
                "server is killed, shared connections",
                8,
                shared(to_rust).format(msgpack).build()?,
            ),
            group(
                "Python server",
                6,
                own(to_steady_python).format(msgpack).build()?,
            ),
            group("Python server is killed", 6, own(to_python).build()?),
            group(
                "by name, own connections",
                8,
                by_name(1).format(msgpack).build()?,
            ),
            group("by name, shared connections", 8, by_name(8).build()?),
        ])
    }

    fn python_callers(&self, seed: u64) -> Result<[PythonCallers; 2], TestFailure> {
        let start = |endpoint: &Endpoint, format| {
            let endpoint = &endpoint.to_string();
            PythonCallers::start(Target { endpoint, format }, PYTHON_CALLS, seed)
        };
        Ok([
            start(self.relays[0].endpoint(), Format::MessagePack)?,
            start(self.relays[1].endpoint(), Format::Json)?,
        ])
    }
}

/// A client, and the number of callers that share it.
struct Group {
    name: &'static str,
    callers: u64,
    remote: RemoteAgent,
    exposure: Exposure,
}

impl Group {
    fn new(name: &'static str, callers: u64, remote: RemoteAgent) -> Self {
        Self {
            name,
            callers,
            remote,
            exposure: Exposure::Exposed,
        }
    }

    /// Checks that the client works again without any help, and closes it.
    async fn recovers(self) -> TestResult {
        let attempts = match self.exposure {
            Exposure::Safe => 1,
            // The relay breaks new connections, too, but not all of them.
            Exposure::Exposed => 500,
        };
        let mut last = Ok(());
        for _ in 0..attempts {
            match self.remote.process(Message::user("after all that")).await {
                Ok(reply) => {
                    expect("the reply", &reply.text(), &Some("after all that"))?;
                    last = Ok(());
                    break;
                }
                Err(error) => last = Err(TestFailure::from(error).during(self.name)),
            }
        }
        last?;
        let stats = self.remote.stats();
        let left = (stats.in_flight, stats.waiting);
        expect(format_args!("the calls of {}", self.name), &left, &(0, 0))?;
        self.remote.close().await;
        Ok(())
    }
}

fn configured<D>(builder: RemoteAgentBuilder<D>, shared: usize) -> RemoteAgentBuilder<D> {
    let backoff = (Duration::from_millis(5), Duration::from_millis(100));
    builder
        .timeout(HANG_LIMIT)
        .max_connections(if shared > 1 { 2 } else { 8 })
        .max_in_flight_per_connection(shared)
        .retry(RetryPolicy::new().backoff(backoff.0, backoff.1))
}

fn port(endpoint: &Endpoint) -> u16 {
    match endpoint {
        Endpoint::Tcp { port, .. } => *port,
        _ => 0,
    }
}

const ANY_PORT: &str = "tcp://127.0.0.1:0";

/// How many calls each Python process makes at least.
const PYTHON_CALLS: u64 = 200;
