//! Agents in Rust and Python register themselves; a client finds them by what they can do, spreads its calls over
//! them, and goes on when one is killed.
//!
//! Run it with `cargo run --example discovery`. It needs Python 3.10 or later and no packages. The Python side is
//! `weather_agent.py` in `examples/python`.

#[allow(dead_code, reason = "this example uses a part of it")]
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
        // The instances in Rust are this program again.
        [_, who, endpoint, registry] => serve(who.clone(), endpoint, registry).await,
        _ => show().await,
    }
}

/// An instance: serves, and is registered meanwhile, until its standard input ends.
async fn serve(who: String, endpoint: &str, registry: &str) -> Outcome {
    let server = LocalAgent::builder(Weather { who })
        .registry(RemoteRegistry::new(registry)?)
        .serve(endpoint)
        .await?;
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    // It leaves the registry first, so that nobody is sent here any more.
    server.stop().await;
    Ok(())
}

struct Weather {
    who: String,
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
        let forecast = format!("Sun in {city}, says {}", self.who);
        Ok(Message::agent(forecast))
    }
}

async fn show() -> Outcome {
    // The sockets live here. The directory goes away at the end.
    let directory = tempfile::tempdir()?;
    let socket = |name: &str| format!("unix://{}", directory.path().join(name).display());

    println!("1. A registry, for all processes of this machine");
    // Whoever is not heard of for 3 s is forgotten.
    let config = RegistryConfig::new().lease(Duration::from_secs(3));
    let entries = LocalRegistry::with_config(config)?;
    let server = RegistryServer::serve(entries, socket("registry.sock")).await?;
    let at = server.endpoint().to_string();
    let registry = RemoteRegistry::new(server.endpoint())?;
    let mut watch = registry.watch(WatchScope::name("weather"));

    println!("2. Three instances of one agent register themselves");
    let _first = start("Rust", &socket("first.sock"), &at)?;
    wait_for(&mut watch, "joined").await?;
    let mut second = start("the other Rust", &socket("second.sock"), &at)?;
    wait_for(&mut watch, "joined").await?;
    let python = python::Agent::start("weather_agent.py", &[&socket("python.sock"), &at]).await?;
    wait_for(&mut watch, "joined").await?;

    println!("3. A client finds who can forecast");
    let found = registry.find(&Query::new().capability("forecast")).await?;
    let name = &found.first().ok_or("nobody can")?.name;
    println!("   {name}, of which there are {} instances", found.len());

    println!("4. It calls by name, and each has its turn");
    let weather = RemoteAgent::discover(registry.clone(), name)
        .balance(Balance::RoundRobin)
        .build()?;
    let reply = weather.process(Message::user("Oslo")).await?;
    println!("   an answer: {}", without_the_speaker(&reply));
    count(&weather, 9).await?;

    println!("5. One is killed, and calls go on");
    second.kill().await?;
    count(&weather, 30).await?;

    println!("6. The registry forgets it");
    wait_for(&mut watch, "expired").await?;
    let left = registry.lookup(name).await?;
    println!("   {} instances are left", left.len());

    weather.close().await;
    drop(python);
    server.stop().await;
    println!("Done.");
    Ok(())
}

/// Starts this program once more, as an instance. It ends with this one, which holds its standard input.
fn start(who: &str, endpoint: &str, registry: &str) -> Result<Child, Box<dyn Error>> {
    let mut command = Command::new(env::current_exe()?);
    let command = command.args([who, endpoint, registry]);
    Ok(command.stdin(Stdio::piped()).kill_on_drop(true).spawn()?)
}

/// Calls, one after the other, and tells who answered how often.
async fn count(weather: &RemoteAgent, calls: usize) -> Outcome {
    let mut answers = BTreeMap::<String, usize>::new();
    for _ in 0..calls {
        let reply = weather.process(Message::user("Oslo")).await?;
        *answers.entry(speaker(&reply).to_owned()).or_default() += 1;
    }
    println!("   {calls} calls, {calls} answers:");
    for (who, count) in answers {
        println!("      {count} by {who}");
    }
    Ok(())
}

fn speaker(reply: &Message) -> &str {
    let text = reply.text().unwrap_or_default();
    text.rsplit(", says ").next().unwrap_or_default()
}

fn without_the_speaker(reply: &Message) -> &str {
    let text = reply.text().unwrap_or_default();
    text.split(", says ").next().unwrap_or_default()
}

/// Waits until that happens to an instance, and tells.
async fn wait_for(watch: &mut Watch, what: &str) -> Outcome {
    loop {
        let event = timeout(Duration::from_secs(20), watch.next()).await?;
        let (happened, instance) = match event.ok_or("the registry has gone")?? {
            Event::Joined(instance) => ("joined", instance),
            Event::Expired(instance) => ("expired", instance),
            _ => continue,
        };
        let endpoint = instance.endpoint.to_string();
        println!(
            "   {happened}: {}",
            endpoint.rsplit('/').next().unwrap_or_default()
        );
        if happened == what {
            return Ok(());
        }
    }
}
