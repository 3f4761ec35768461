use std::{future::pending, time::Duration};

use agentwire::{Endpoint, LocalAgent, LocalAgentBuilder};
use clap::Args;
use tokio::time::timeout;

use crate::{
    agents::{AgentKind, BuiltIn},
    exit::{Exit, Failure, chain},
    output,
    registry_url::{RegistryUrl, parse_registry_url},
    runtime,
    signals::StopSignals,
    target::parse_listen_endpoint,
};

/// Serve a built-in agent, to try clients against
///
/// Prints "listening on ENDPOINT" once it accepts connections. SIGINT or SIGTERM stops it: calls
/// that are in flight are answered first, for up to 30 seconds and unless a second signal comes.
///
/// With --registry it also prints "registered NAME at ENDPOINT" once it is, and is taken out first when it stops.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct ServeArgs {
    /// Where to listen: unix:///path/to/socket or tcp://host:port, port 0 being any that is free
    #[arg(value_parser = parse_listen_endpoint)]
    endpoint: Endpoint,

    /// What to serve: echo, slow:MS, fail or count:N
    #[arg(long, default_value = "echo", long_help = AGENT_HELP)]
    agent: AgentKind,

    /// The name of the agent [default: echo, slow, fail or count]
    #[arg(long)]
    name: Option<String>,

    /// How many connections are open at most; the process must be allowed as many files
    #[arg(long, value_name = "N", default_value = "1024")]
    max_connections: usize,

    /// Where a registry is: the agent is registered there for as long as it is served
    #[arg(long, value_name = "URL", value_parser = parse_registry_url)]
    registry: Option<RegistryUrl>,

    /// Where others call the agent, for the registry; port 0 is the one that is listened on [default: ENDPOINT]
    #[arg(long, value_name = "ENDPOINT", value_parser = parse_listen_endpoint, requires = "registry")]
    advertise: Option<Endpoint>,
}

/// How long one registration or heartbeat may take.
const REGISTRY_TIMEOUT: Duration = Duration::from_secs(10);

const AGENT_HELP: &str = "\
What to serve:
  echo     answers with the content and metadata that it is sent
  slow:MS  does so after MS milliseconds
  fail     answers every call with an error
  count:N  streams N chunks, numbered from 0; other calls are echoed";

const AFTER_HELP: &str = "\
Examples:
  agentwire serve unix:///tmp/echo.sock
  agentwire serve tcp://127.0.0.1:0 --agent count:5
  agentwire serve tcp://[::1]:8080 --agent slow:250 --name sleepy
  agentwire serve tcp://0.0.0.0:0 --registry tcp://localhost:7000 --advertise tcp://myhost:0";

impl ServeArgs {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let mut local = LocalAgent::builder(BuiltIn::new(self.agent, self.name))
            .max_connections(self.max_connections);
        if let Some(registry) = self.registry {
            local = local.registry(registry.open(REGISTRY_TIMEOUT)?);
        }
        if let Some(endpoint) = self.advertise {
            local = local.advertised_endpoint(endpoint);
        }
        serve_until_stopped(local, &self.endpoint)
    }
}

/// Serves until a signal comes, then answers what is in flight, or drops it at a second signal.
pub(crate) fn serve_until_stopped(
    agent: LocalAgentBuilder,
    endpoint: &Endpoint,
) -> Result<(), Failure> {
    runtime::run_server(async {
        let mut signals = StopSignals::start()?;
        let local = tokio::select! {
            served = agent.serve(endpoint.clone()) => served?,
            () = signals.next() => return Ok(()),
        };
        tracing::info!(endpoint = %local.endpoint(), agent = local.name(), "listening");
        output::print_line(format_args!("listening on {}", local.endpoint()))?;

        tokio::select! {
            biased;
            () = signals.next() => {}
            failure = tell_of_registering(&local) => return Err(failure),
        }
        signals.stop(local.stop(), local.abort()).await;
        Ok(())
    })
}

/// How long it may take to register before people are told that it does.
const SOON: Duration = Duration::from_secs(2);

/// Says when the agents are registered, and why not if they are not soon. Ends only if that cannot be said, or if
/// they never will be.
async fn tell_of_registering(local: &LocalAgent) -> Failure {
    for registrant in local.registrations() {
        let name = &registrant.registration().name;
        if timeout(SOON, registrant.registered()).await.is_err() {
            let why = registrant.last_error().map(|error| chain(&error));
            let why = why.unwrap_or_else(|| "no answer".to_owned());
            output::note(format_args!("{name} is not registered yet: {why}"));
        }
        if let Err(error) = registrant.registered().await {
            return Failure::from_error(Exit::of(&error), &error);
        }
        let endpoint = &registrant.registration().endpoint;
        if let Err(failure) = output::print_line(format_args!("registered {name} at {endpoint}")) {
            return failure;
        }
    }
    pending().await
}
