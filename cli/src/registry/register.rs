//! The command `registry register`.

use agentwire::{
    Endpoint, Map,
    registry::{Registration, RegistrationHandle, Registry, Version},
};
use clap::Args;
use futures_util::future::join_all;

use super::{client_args::ClientArgs, instance_args::OwnerArgs};
use crate::{
    endpoint_args::parse_connect_endpoint, exit::CliError, message_args::parse_metadata,
    registrations::report_registrations, runtime, signals::StopSignals,
};

/// Register instances of an agent, for example of a server in another language
///
/// The registry keeps a registration for its lease, which the command prints. With --keep, the
/// command keeps the instances registered, and unregisters them when a signal stops it.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct RegisterArgs {
    #[command(flatten)]
    client: ClientArgs,

    /// The name of the agent
    name: String,

    /// The endpoints of the instances
    #[arg(value_name = "ENDPOINT", required = true, value_parser = parse_connect_endpoint)]
    endpoints: Vec<Endpoint>,

    /// The version of the agent, such as 1.2.0
    #[arg(long)]
    version: Option<Version>,

    /// The capabilities of the agent, as a JSON object
    #[arg(long, value_name = "JSON", value_parser = parse_metadata)]
    capabilities: Option<Map>,

    /// The metadata of the agent, as a JSON object
    #[arg(long, value_name = "JSON", value_parser = parse_metadata)]
    metadata: Option<Map>,

    /// Keep the instances registered until a signal
    #[arg(long)]
    keep: bool,

    #[command(flatten)]
    owner: OwnerArgs,
}

impl RegisterArgs {
    pub(crate) fn run(self) -> Result<(), CliError> {
        let registry = self.client.open_complete()?;
        let registrations = self.registrations();
        if !self.keep {
            return runtime::run_client(async {
                for registration in registrations {
                    let (name, endpoint) = (&*registration.name, registration.endpoint.to_string());
                    let lease = registry.register(registration.clone()).await?;
                    let lease = Some(lease.timeout());
                    self.client
                        .print_change("registered", name, &endpoint, lease)?;
                }
                Ok(())
            });
        }
        runtime::run_client(async {
            let mut signals = StopSignals::start()?;
            let handles = registrations.into_iter();
            let handles: Vec<_> = handles
                .map(|one| RegistrationHandle::start(registry.clone(), one))
                .collect::<Result<_, _>>()?;
            tokio::select! {
                biased;
                () = signals.next() => {}
                error = report_registrations(&handles) => return Err(error),
            }
            for result in join_all(handles.iter().map(RegistrationHandle::unregister)).await {
                result?;
            }
            Ok(())
        })
    }

    fn registrations(&self) -> Vec<Registration> {
        let endpoints = self.endpoints.iter();
        let registration = endpoints.map(|endpoint| {
            let mut registration = Registration::new(&*self.name, endpoint.clone());
            registration.version.clone_from(&self.version);
            registration.capabilities = self.capabilities.clone().unwrap_or_default();
            registration.metadata = self.metadata.clone().unwrap_or_default();
            match self.owner.key() {
                Some(key) => registration.with_owner(key),
                None => registration,
            }
        });
        registration.collect()
    }
}

const AFTER_HELP: &str = "\
Examples:
  agentwire registry register tcp://localhost:7000 weather tcp://10.0.0.7:8080
  agentwire registry register tcp://localhost:7000 weather tcp://10.0.0.7:8080 --version 2.1.0
  agentwire registry register tcp://localhost:7000 weather unix:///run/weather.sock --keep";
