//! Tests that `python/registered_agent.py` registers, and that Rust can find and call the agent.

use std::{env, error::Error, path::Path, process::Stdio, time::Duration};

use agentwire::{
    Message, RemoteAgent,
    registry::{
        Event, InstanceRef, LocalRegistry, Query, Registry, RegistryConfig, RegistryServer, Watch,
        WatchScope,
    },
};
use tokio::{
    process::{Child, Command},
    time::{interval, timeout},
};

fn script() -> std::path::PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    folder.join("python").join("registered_agent.py")
}

/// Starts the agent with the port of its registry. Dropping the process kills it.
fn start(port: u16) -> Result<Child, Box<dyn Error>> {
    let python = env::var_os("AGENTWIRE_PYTHON").unwrap_or_else(|| "python3".into());
    let mut command = Command::new(python);
    command.arg(script()).args(["127.0.0.1", &port.to_string()]);
    Ok(command.stdin(Stdio::null()).kill_on_drop(true).spawn()?)
}

async fn next(watch: &mut Watch) -> Result<Event, Box<dyn Error>> {
    let event = timeout(LIMIT, watch.next()).await?;
    Ok(event.ok_or("the watch has ended")??)
}

#[test]
fn the_agent_has_fewer_than_25_lines() -> Result<(), Box<dyn Error>> {
    let lines = std::fs::read_to_string(script())?.lines().count();
    assert!(lines < 25, "{lines}");
    Ok(())
}

#[tokio::test]
async fn the_agent_registers_renews_its_lease_and_can_be_called() -> Result<(), Box<dyn Error>> {
    let registry = LocalRegistry::with_config(RegistryConfig::new().lease(LEASE))?;
    let server = RegistryServer::serve(registry.clone(), "tcp://127.0.0.1:0").await?;
    let agentwire::Endpoint::Tcp { port, .. } = *server.endpoint() else {
        return Err("not a TCP endpoint".into());
    };
    let mut watch = registry.watch(WatchScope::name("shout"));
    assert!(matches!(next(&mut watch).await?, Event::Snapshot { .. }));
    let mut python = start(port)?;
    let Event::Joined(joined) = next(&mut watch).await? else {
        return Err("the agent did not join".into());
    };

    let found = registry.find(Query::new().capability("tones.loud")).await?;
    assert_eq!((found.len(), &*found[0].name), (1, "shout"));
    let remote = RemoteAgent::new(&found[0].endpoint)?;
    let reply = timeout(LIMIT, remote.process(Message::user("hello"))).await??;
    assert_eq!(reply.text(), Some("HELLO"));

    // Heartbeats must renew the registration beyond its first lease.
    let two_leases = joined
        .registered_at
        .to_system_time()
        .ok_or("no registration time")?
        + 2 * LEASE;
    timeout(LIMIT, async {
        let mut poll = interval(Duration::from_millis(20));
        while joined.last_heartbeat().to_system_time() < Some(two_leases) {
            poll.tick().await;
        }
    })
    .await?;
    let renewed = registry.lookup("shout").await?;
    assert_eq!(renewed[0].registered_at, joined.registered_at);

    // After it has been unregistered, the agent registers again. After it has been killed, its
    // registration expires.
    registry.unregister(&InstanceRef::new("shout")).await?;
    assert!(matches!(next(&mut watch).await?, Event::Left(_)));
    assert!(matches!(next(&mut watch).await?, Event::Joined(_)));
    python.kill().await?;
    assert!(matches!(next(&mut watch).await?, Event::Expired(_)));
    server.stop().await;
    Ok(())
}

/// The time limit for one step. It is much longer than needed, even on a heavily loaded machine.
const LIMIT: Duration = Duration::from_secs(30);

/// The lease, which is short so that the test depends on heartbeats, but long enough for a loaded
/// machine.
const LEASE: Duration = Duration::from_secs(3);
