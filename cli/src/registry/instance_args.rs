//! The instances of one agent that `unregister` and `drain` remove.

use agentwire::{
    Endpoint,
    registry::{InstanceRef, Registry, SharedRegistry},
};
use clap::Args;

use super::client_args::ClientArgs;
use crate::{
    endpoint_args::parse_connect_endpoint,
    exit::{CliError, Exit},
};

/// The instances to remove.
#[derive(Debug, Args)]
pub(super) struct InstanceArgs {
    #[command(flatten)]
    client: ClientArgs,

    /// The name of the agent
    name: String,

    /// The endpoints of the instances; not needed if there is only one instance
    #[arg(value_name = "ENDPOINT", value_parser = parse_connect_endpoint, conflicts_with = "all")]
    endpoints: Vec<Endpoint>,

    /// Remove all instances
    #[arg(long)]
    all: bool,

    #[command(flatten)]
    owner: OwnerArgs,
}

/// The owner of registrations.
#[derive(Debug, Default, Args)]
pub(super) struct OwnerArgs {
    /// The secret text that proves the ownership of the registration; other users of this machine
    /// can see the options of a command, but not the variable
    #[arg(
        long,
        value_name = "KEY",
        env = "AGENTWIRE_OWNER",
        hide_env_values = true
    )]
    owner: Option<String>,
}

impl OwnerArgs {
    /// Returns the key, if there is one.
    pub(super) fn key(&self) -> Option<&str> {
        self.owner.as_deref().filter(|key| !key.is_empty())
    }
}

impl InstanceArgs {
    /// Unregisters the instances, and prints a line with `word` for each.
    pub(super) async fn unregister(&self, word: &str) -> Result<Vec<InstanceRef>, CliError> {
        let registry = self.client.open_complete()?;
        let instances = self.instances(&registry).await?;
        for which in &instances {
            registry.unregister(which).await?;
            self.print(word, which)?;
        }
        Ok(instances)
    }

    /// Checks that no other registration has taken the place of these instances, and prints a line
    /// with `word` for each.
    pub(super) async fn check_absent(
        &self,
        word: &str,
        instances: &[InstanceRef],
    ) -> Result<(), CliError> {
        let registry = self.client.open_complete()?;
        let found = registry.lookup(&self.name).await?;
        for which in instances {
            if let Some(endpoint) = &which.endpoint {
                if found.iter().any(|one| one.endpoint == *endpoint) {
                    let name = &self.name;
                    let problem = format!(
                        "{name:?} at {endpoint} is registered again, because its agent keeps it \
                         registered; stop the agent with SIGTERM"
                    );
                    return Err(CliError::new(Exit::Remote, problem));
                }
            }
            self.print(word, which)?;
        }
        Ok(())
    }

    fn print(&self, word: &str, which: &InstanceRef) -> Result<(), CliError> {
        let endpoint = which.endpoint.as_ref().map(ToString::to_string);
        let endpoint = endpoint.unwrap_or_default();
        self.client.print_change(word, &which.name, &endpoint, None)
    }

    /// Returns references to the instances, with the instance ids that the registry lists.
    async fn instances(&self, registry: &SharedRegistry) -> Result<Vec<InstanceRef>, CliError> {
        let name = &self.name;
        let found = registry.lookup(name).await?;
        let missing = |what: String| {
            let problem = format!("{what} is registered");
            Err(CliError::new(Exit::Unreachable, problem))
        };
        if found.is_empty() {
            return missing(format!("no agent named {name:?}"));
        }
        let is_ambiguous = found.len() > 1 && self.endpoints.is_empty() && !self.all;
        if is_ambiguous {
            let count = found.len();
            let problem = format!(
                "{name:?} has {count} instances; give the ENDPOINT of each instance, or --all"
            );
            return Err(CliError::new(Exit::Usage, problem));
        }
        for endpoint in &self.endpoints {
            if !found.iter().any(|one| one.endpoint == *endpoint) {
                return missing(format!("no instance of {name:?} at {endpoint}"));
            }
        }
        let is_meant = |endpoint| self.endpoints.is_empty() || self.endpoints.contains(endpoint);
        let meant = found.iter().filter(|one| is_meant(&one.endpoint));
        let reference = meant.map(|one| {
            let which = InstanceRef::from(one);
            match self.owner.key() {
                Some(key) => which.with_owner(key),
                None => which,
            }
        });
        Ok(reference.collect())
    }
}
