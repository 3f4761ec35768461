//! The commands `registry unregister` and `registry drain`.

use std::time::Duration;

use clap::Args;

use super::instance_args::InstanceArgs;
use crate::{exit::CliError, runtime, signals::StopSignals, timeout::parse_timeout};

/// Remove instances of an agent from a registry
///
/// A registration with an owner can be removed by its owner alone. An agent that keeps itself
/// registered, as `agentwire serve --registry` does, has an owner. Send SIGTERM to such an agent.
#[derive(Debug, Args)]
#[command(after_help = UNREGISTER_HELP)]
pub(crate) struct UnregisterArgs {
    #[command(flatten)]
    instances: InstanceArgs,
}

impl UnregisterArgs {
    pub(crate) fn run(self) -> Result<(), CliError> {
        runtime::run_client(async {
            self.instances.unregister("unregistered").await?;
            Ok(())
        })
    }
}

/// Remove instances from a registry, and give the calls in flight time to end
///
/// Callers that find the agent in the registry stop calling the instances. Their calls in flight
/// have the time of --delay to end. The command then prints "drained NAME at ENDPOINT", and the
/// servers can be stopped. A signal ends the wait. The registry does not know how many calls are in
/// flight, so --delay must be longer than a call takes.
///
/// An agent that keeps itself registered does all of this on SIGTERM, and waits only as long as its
/// calls take. If such an agent has registered itself again after the wait, the command fails.
#[derive(Debug, Args)]
#[command(after_help = DRAIN_HELP)]
pub(crate) struct DrainArgs {
    #[command(flatten)]
    instances: InstanceArgs,

    /// The time that calls in flight have to end
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse_timeout)]
    delay: Duration,
}

impl DrainArgs {
    pub(crate) fn run(self) -> Result<(), CliError> {
        runtime::run_client(async {
            let mut signals = StopSignals::start()?;
            let removed = self.instances.unregister("draining").await?;
            tokio::select! {
                () = tokio::time::sleep(self.delay) => {}
                () = signals.next() => return Ok(()),
            }
            self.instances.check_absent("drained", &removed).await
        })
    }
}

const UNREGISTER_HELP: &str = "\
Examples:
  agentwire registry unregister tcp://localhost:7000 weather
  agentwire registry unregister tcp://localhost:7000 weather tcp://10.0.0.7:8080
  agentwire registry unregister tcp://localhost:7000 weather --all";

const DRAIN_HELP: &str = "\
Examples:
  agentwire registry drain tcp://localhost:7000 weather tcp://10.0.0.7:8080
  agentwire registry drain tcp://localhost:7000 weather --all --delay 5s";
