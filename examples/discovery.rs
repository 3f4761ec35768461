//! Service discovery: Rust and Python agents register, and a client finds them by capability.
//!
//! The client balances its calls over three instances. When one instance is killed, the client
//! calls the other instances.
//!
//! Run the example with `cargo run --example discovery`. The example requires Python 3.10 or later,
//! but no packages. The Python agent is `examples/python/weather_agent.py`.

#[allow(dead_code, reason = "this example uses only a part of the module")]
mod python;

use std::{collections::BTreeMap, env, error::Error, process::Stdio, time::Duration};

use agentwire::{
    Agent, AgentError, Balance, LocalAgent, Map, Message, RemoteAgent, RequestContext, map,
    registry::{
        Event, LocalRegistry, Query, Registry, RegistryConfig, RegistryServer, RemoteRegistry,
        Watch, WatchScope,
    },
};
use tokio::{
    io::AsyncReadExt,
    process::{Child, Command},
    time::timeout,
};

type Outcome = Result<(), Box<dyn Error>>;

#[tokio::main]
async fn main() -> Outcome {
    match &env::args().collect::<Vec<_>>()[..] {
        // The program runs itself as a child process for each Rust instance.
        [_, name, endpoint, registry] => serve(name.clone(), endpoint, registry).await,
        _ => demonstrate().await,
    }
}

/// Serves one instance until standard input is closed. The instance is registered while it is
/// served.
async fn serve(instance: String, endpoint: &str, registry: &str) -> Outcome {
    let server = LocalAgent::builder(Weather { instance })
        .registry(RemoteRegistry::new(registry)?)
        .endpoint(endpoint)
        .serve()
        .await?;
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    // `stop` first unregisters the agent, so that no new calls arrive, and then waits for the calls
    // in flight.
    server.stop().await;
    Ok(())
}

/// An agent that forecasts the weather. Each reply contains the name of the instance.
struct Weather {
    instance: String,
}

impl Agent for Weather {
    fn name(&self) -> &str {
        "weather"
    }

    fn capabilities(&self) -> Map {
        map! {"forecast": {"days": 3}}
    }

    async fn process(&self, city: Message, _: RequestContext) -> Result<Message, AgentError> {
        let city = city.content.to_plain_text();
        let forecast = format!("Sun in {city}, says {}", self.instance);
        Ok(Message::agent(forecast))
    }
}

async fn demonstrate() -> Outcome {
    // The directory for the sockets, which is removed on drop.
    let directory = tempfile::tempdir()?;
    let socket = |name: &str| format!("unix://{}", directory.path().join(name).display());

    println!("1. Start a registry for the processes of this machine");
    // A registration expires after 3 s without a heartbeat.
    let config = RegistryConfig::new().lease(Duration::from_secs(3));
    let entries = LocalRegistry::with_config(config)?;
    let server = RegistryServer::serve(entries, socket("registry.sock")).await?;
    let url = server.endpoint().to_string();
    let registry = RemoteRegistry::new(server.endpoint())?;
    let mut watch = registry.watch(WatchScope::name("weather"));

    println!("2. Start three instances of one agent, which register themselves");
    let _first = start("Rust", &socket("first.sock"), &url)?;
    wait_for(&mut watch, "joined").await?;
    let mut second = start("the other Rust", &socket("second.sock"), &url)?;
    wait_for(&mut watch, "joined").await?;
    let python = python::Agent::start("weather_agent.py", &[&socket("python.sock"), &url]).await?;
    wait_for(&mut watch, "joined").await?;

    println!("3. Find the agents with the capability `forecast`");
    let found = registry.find(Query::new().capability("forecast")).await?;
    let name = &found.first().ok_or("no agent can forecast")?.name;
    println!("   found {} instances of {name}", found.len());

    println!("4. Call the agent by name, round robin over its instances");
    let weather = RemoteAgent::discover(registry.clone(), name)
        .balance(Balance::RoundRobin)
        .build()?;
    let reply = weather.process(Message::user("Oslo")).await?;
    println!("   a reply: {}", forecast(&reply));
    count_replies(&weather, 9).await?;

    println!("5. Kill one instance; calls go to the others");
    second.kill().await?;
    count_replies(&weather, 30).await?;

    println!("6. Wait until its registration expires");
    wait_for(&mut watch, "expired").await?;
    let left = registry.lookup(name).await?;
    println!("   {} instances left", left.len());

    weather.close().await;
    drop(python);
    server.stop().await;
    println!("Done.");
    Ok(())
}

/// Starts a child process that runs this program as an instance. The instance exits when its
/// standard input is closed, which also happens when this process exits.
fn start(instance: &str, endpoint: &str, registry: &str) -> Result<Child, Box<dyn Error>> {
    let mut command = Command::new(env::current_exe()?);
    let command = command.args([instance, endpoint, registry]);
    Ok(command.stdin(Stdio::piped()).kill_on_drop(true).spawn()?)
}

/// Makes calls in sequence and prints the number of replies from each instance.
async fn count_replies(weather: &RemoteAgent, calls: usize) -> Outcome {
    let mut replies = BTreeMap::<String, usize>::new();
    for _ in 0..calls {
        let reply = weather.process(Message::user("Oslo")).await?;
        *replies.entry(instance(&reply).to_owned()).or_default() += 1;
    }
    println!("   {calls} calls, {calls} replies:");
    for (instance, count) in replies {
        println!("      {count} from {instance}");
    }
    Ok(())
}

/// Returns the name of the instance that sent the reply.
fn instance(reply: &Message) -> &str {
    let text = reply.text().unwrap_or_default();
    text.rsplit(", says ").next().unwrap_or_default()
}

/// Returns the text of the reply without the name of the instance.
fn forecast(reply: &Message) -> &str {
    let text = reply.text().unwrap_or_default();
    text.split(", says ").next().unwrap_or_default()
}

/// Prints events until an event of the expected kind arrives.
async fn wait_for(watch: &mut Watch, expected: &str) -> Outcome {
    loop {
        let event = timeout(Duration::from_secs(20), watch.next()).await?;
        let (kind, instance) = match event.ok_or("the watch has ended")?? {
            Event::Joined(instance) => ("joined", instance),
            Event::Expired(instance) => ("expired", instance),
            _ => continue,
        };
        let endpoint = instance.endpoint.to_string();
        println!(
            "   {kind}: {}",
            endpoint.rsplit('/').next().unwrap_or_default()
        );
        if kind == expected {
            return Ok(());
        }
    }
}
